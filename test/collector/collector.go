// Package collector is an OpenTelemetry collector for tests: it takes traces by
// OTLP over HTTP, and keeps them.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	received "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector keeps the traces that it receives. It is safe for concurrent use.
type Collector struct {
	// URL is the collector's address, for OTEL_EXPORTER_OTLP_ENDPOINT.
	URL string

	mu        sync.Mutex
	resources []map[string]string // guarded by mu
	spans     []Span              // guarded by mu
}

// Span is one span of a trace. Its ids are in hex.
type Span struct {
	Trace, ID, Parent string // Parent is empty for the first span of a trace
	Name              string
	Attributes        map[string]string // only the attributes whose values are text
}

// Start runs a collector until the test ends.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	s := httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// Spans returns the spans received so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans
}

// Resources returns, for each request so far, the attributes by which the sender describes itself.
func (c *Collector) Resources() []map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resources
}

func (c *Collector) receive(w http.ResponseWriter, r *http.Request) {
	request := &received.ExportTraceServiceRequest{}
	body, err := read(r)
	if err == nil {
		err = proto.Unmarshal(body, request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range request.GetResourceSpans() {
		about := make(map[string]string)
		for _, a := range from.GetResource().GetAttributes() {
			about[a.GetKey()] = a.GetValue().GetStringValue()
		}
		c.resources = append(c.resources, about)
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					Parent: hex.EncodeToString(s.GetParentSpanId()), Name: s.GetName(), Attributes: make(map[string]string),
				}
				for _, a := range s.GetAttributes() {
					span.Attributes[a.GetKey()] = a.GetValue().GetStringValue()
				}
				c.spans = append(c.spans, span)
			}
		}
	}
}

func read(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	in, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(in)
}
