//go:build programs

package proxies

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// The proxy sends a request that a node refuses to another node, with its body. Caddy 2.6 cannot do so, since it has
// closed the body by then: it answers 502 until it knows that the node is gone.
func TestRefusedConnections(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 2)
		p := start(t, k, nodes)
		nodes[0].Kill()
		for range 10 {
			if status, err := p.send(t, http.MethodGet, "/ping", ""); err != nil || status != http.StatusOK {
				t.Errorf("a GET while a node is gone: %d, %v; want 200", status, err)
			}
			status, err := p.post(t)
			if err != nil || status != http.StatusOK && (k != &caddy || status != http.StatusBadGateway) {
				t.Errorf("a POST while a node is gone: %d, %v; want 200", status, err)
			}
		}
	})
}

// The proxy never repeats a POST that a node has received, even if the node dies while it handles the request.
func TestPostIsSentOnce(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		var posts atomic.Int32
		node := func() string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					_, _ = io.Copy(io.Discard, r.Body)
					posts.Add(1)
					panic(http.ErrAbortHandler) // net/http then breaks the connection without an answer
				}
			}))
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		}
		p := prepare(t, k, node(), node())
		p.start()
		status, err := p.post(t)
		if posts.Load() != 1 {
			t.Errorf("the POST was sent %d times; want once", posts.Load())
		}
		if status < 500 && !errors.Is(err, io.EOF) {
			t.Errorf("the answer is %d, %v; want one of 5xx, or a broken connection", status, err)
		}
	})
}

// post requests a token by POST.
func (p *proxy) post(t *testing.T) (status int, err error) {
	t.Helper()
	return p.send(t, http.MethodPost, "/getToken", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"1","expire":3600}`)
}

// send makes a request on a connection of its own.
func (p *proxy) send(t *testing.T, method, path, body string) (status int, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.url("https", path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: p.transport(program.Loopback)}).Do(request)
	if err != nil {
		return 0, err
	}
	response.Body.Close()
	return response.StatusCode, nil
}
