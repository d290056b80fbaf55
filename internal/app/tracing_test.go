package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/test/collector"
	"refresher/test/redistest"
)

// The spans of a renewal, including those of the back end and Redis, arrive at the collector as one
// trace.
func TestARenewalIsOneTrace(t *testing.T) {
	c := collector.Start(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	b := apptest.NewBackEnd(t)
	parents := make(chan string, 100) // the trace contexts of the requests to the back end
	handler := b.Config.Handler
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("Traceparent")
		handler.ServeHTTP(w, r)
	})
	redis := redistest.Start(t)
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Redis.URL = redis.URL()
		c.Authorize.URL, c.Authorize.Secret = b.URL+"/may", apptest.HookSecret
		c.Authorize.Timeout, c.Policy.ApprovalGrace = 2*time.Second, time.Minute
	})
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	s.Send(`{"type":"renew"}`)
	m := s.Expect(protocol.TypeWillExpire)
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	s.Send(`{"type":"ping"}`)
	s.Expect(protocol.TypePong)
	if err := s.CloseNow(); err != nil {
		t.Fatal(err)
	}
	again := n.Dial()
	again.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d}`, joined.Session, joined.Key, m.Seq))
	m = again.Expect(protocol.TypeJoined)
	again.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	again.Send(`{"type":"leave"}`)
	again.Expect(protocol.TypeEnded)

	// This test reads exemplars, which only the OpenMetrics format has.
	metrics := n.Scrape("application/openmetrics-text; version=1.0.0")
	n.Stop() // Stop sends the remaining spans

	close(parents)
	var asked []string
	for parent := range parents {
		asked = append(asked, parent)
	}
	var got []string
	saved := false
	for _, span := range c.Spans() {
		if span.Name == "POST" && !slices.ContainsFunc(asked, func(p string) bool { return strings.Contains(p, span.Trace+"-"+span.ID) }) {
			t.Errorf("the back end was not told of %v", span)
		}
		saved = saved || span.Name == "save" && slices.Contains(under(c.Spans(), span.ID), "redis pipeline")
		if span.Parent == "" {
			got = append(got, span.Name+" "+fmt.Sprint(under(c.Spans(), span.ID)))
			if span.Attributes["refresher.session"] != joined.Session {
				t.Errorf("%s: session %q", span.Name, span.Attributes["refresher.session"])
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"join [authorize[POST] mint push record]",
		"renewal [ack authorize[POST] mint push record]",
		"resume [ack authorize[POST] mint push record redis eval redis evalsha]",
	}
	if !saved {
		t.Error("no record's trace goes on to Redis")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"ack", "renewal_margin"} {
		exemplar := regexp.MustCompile(`refresher_` + name + `_seconds_bucket.* # \{trace_id="([0-9a-f]{32})"\}`).FindStringSubmatch(metrics)
		if exemplar == nil || !slices.ContainsFunc(c.Spans(), func(s collector.Span) bool { return s.Trace == exemplar[1] }) {
			t.Errorf("%s has the exemplar %q", name, exemplar)
		}
	}
}

// under returns the names of a span's children, each name once. After a child's name come the names of its own children
// in brackets. The children of "record" are omitted, since they vary with the other records in the batch.
func under(spans []collector.Span, parent string) []string {
	var all []string
	for _, s := range spans {
		if s.Parent == parent {
			name := s.Name
			if parts := under(spans, s.ID); len(parts) > 0 && name != "record" {
				name += fmt.Sprint(parts)
			}
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
