//go:build programs

package proxies

import (
	"bufio"
	"crypto/tls"
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

const secret = "SECRETSECRETSECRET"

const getToken = `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"1","expire":3600}`

// Requests to the classic token endpoints pass the proxy with their bodies, a request that is too large gets a clear
// answer, and the proxy's log has no secrets.
func TestHTTP(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 2)
		p := start(t, k, nodes)
		for _, c := range []struct {
			method, path, body string
			status             int
			answer             string
		}{
			{"GET", "/ping", "", 200, `"pong"`},
			{"GET", "/rtc/c/publisher/uid/1/?expiry=3600&credential=" + secret, "", 200, `"rtcToken":"007`},
			// The proxy must pass an encoded path on unchanged. Then a%2Fb%20c is one channel name, which the node
			// refuses because of its slash.
			{"GET", "/rtc/a%2Fb%20c/publisher/uid/1/", "", 400, `"error"`},
			{"POST", "/getToken", getToken, 200, `"token":"007`},
			{"GET", "/metrics", "", 404, ""},
			// Some UIKits put a credential into a path of this form. The nodes do not accept a credential in a path.
			{"GET", "/with/" + secret + "/rtc/c/publisher/uid/7/?credential=" + secret, "", 404, ""},
		} {
			status, text, err := p.ask("127.0.0.2", c.method, c.path, c.body, "Authorization", "Bearer "+secret)
			if err != nil || status != c.status || !strings.Contains(text, c.answer) {
				t.Errorf("%s %s: %d %s, %v; want %d", c.method, c.path, status, text, err, c.status)
			}
		}
		large := strings.Repeat("x", 9000)
		if status := p.sendRaw("POST /getToken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n" + large); status != k.bodyTooLarge {
			t.Errorf("POST of 9,000 bytes: %d; want %d", status, k.bodyTooLarge)
		}
		large = strings.Repeat("x", 30_000)
		if status := p.sendRaw("GET /ping HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + large + "\r\n\r\n"); status != k.headerTooLarge {
			t.Errorf("a header of 30,000 bytes: %d; want %d", status, k.headerTooLarge)
		}
		// While no node runs, the proxy also logs errors, which must contain no secret either.
		for _, n := range nodes {
			n.Kill()
		}
		if status := p.statusOf("127.0.0.2", "/with/"+secret+"/rtm/gone/?credential="+secret); status != 502 && status != 503 {
			t.Errorf("without nodes: %d; want 502 or 503", status)
		}
		// The proxy may write the log line after it has answered, so the test waits for the line.
		err := p.log.Await(0, p.process.Done(), nodetest.Patience, func(l program.Line) bool {
			return strings.Contains(l.Text, "/rtm/gone/") && !strings.Contains(l.Text, " [error] ") && !strings.Contains(l.Text, "http.log.error")
		})
		if err != nil {
			t.Errorf("no line of the access log for the last request: %v", err)
		}
		logged := p.logged()
		if !strings.Contains(logged, "/rtc/c/publisher/uid/1") || !strings.Contains(logged, "127.0.0.2") || strings.Contains(logged, secret) {
			t.Errorf("want the paths and the client's address in the log, but no query and no credential")
		}
	})
}

// HAProxy itself waits for a slow body, for a limited time, so that no node has to wait for it.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	nodes := nodetest.StartFleet(t, 1)
	p := start(t, &haproxy, nodes, "timeout http-request    10s", "timeout http-request    300ms")
	if status := p.sendRaw("POST /getToken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{"); status != http.StatusRequestTimeout {
		t.Errorf("it is answered with %d; want 408", status)
	}
}

// Rate limits apply to the client's real address, whatever the client's headers say.
func TestClientAddress(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 1, "--trusted-proxies=127.0.0.1", "--address-rate=0.001")
		p := start(t, k, nodes)
		for _, c := range []struct {
			from, claim string
			want        int
		}{{"127.0.0.2", "203.0.113.1", 200}, {"127.0.0.2", "203.0.113.2", 429}, {"127.0.0.3", "203.0.113.2", 200}} {
			status, _, err := p.ask(c.from, http.MethodGet, "/rtm/ana", "", "X-Forwarded-For", c.claim, "Forwarded", "for="+c.claim)
			if err != nil || status != c.want {
				t.Errorf("from %s, which claims %s: %d, %v; want %d", c.from, c.claim, status, err, c.want)
			}
		}
	})
}

// If a node refuses the connection, the proxy sends the request, with its body, to the other node. Caddy 2.6 cannot
// send the body again, since it has already closed it: it answers 502 until it knows that the node is gone.
func TestRefusedConnections(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 2)
		p := start(t, k, nodes)
		nodes[0].Kill()
		for range 10 {
			if status := p.statusOf("127.0.0.2", "/ping"); status != http.StatusOK {
				t.Errorf("a GET while a node is gone: %d; want 200", status)
			}
			status, _, err := p.ask("127.0.0.2", http.MethodPost, "/getToken", getToken)
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
					panic(http.ErrAbortHandler) // with this value, net/http closes the connection without an answer
				}
			}))
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		}
		p := prepare(t, k, node(), node())
		p.start()
		status, _, err := p.ask("127.0.0.2", http.MethodPost, "/getToken", getToken)
		if posts.Load() != 1 {
			t.Errorf("the POST was sent %d times; want once", posts.Load())
		}
		if status < 500 && !errors.Is(err, io.EOF) {
			t.Errorf("the answer is %d, %v; want one of 5xx, or a broken connection", status, err)
		}
	})
}

// sendRaw sends a request byte for byte, and returns the status of its answer. The proxy may answer and close the
// connection before it has read the whole request; net/http's client would report that as an error.
func (p *proxy) sendRaw(request string) int {
	p.t.Helper()
	conn, err := p.transport("127.0.0.2").DialContext(p.t.Context(), "tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	roots := p.roots.Clone()
	roots.ServerName = "localhost"
	secured := tls.Client(conn, roots)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(secured, request)
		sent <- err
	}()
	response, err := http.ReadResponse(bufio.NewReader(secured), nil)
	conn.Close()
	if cut := <-sent; err != nil {
		p.t.Fatalf("no answer: %v; sending: %v", err, cut)
	}
	response.Body.Close()
	return response.StatusCode
}

// logged returns all log lines that the proxy's own configuration causes. It omits nginx's error output, which is a
// second log that only these tests configure.
func (p *proxy) logged() string {
	p.t.Helper()
	if p.kind != &nginx {
		return p.log.Tail(p.log.Len())
	}
	logged := []string{read(p.t, p.path("error.log"))}
	for _, line := range p.log.Lines(0) {
		if !strings.Contains(line.Text, "#") { // each line of nginx's error log has the numbers of the process and the thread, as 12#34
			logged = append(logged, line.Text)
		}
	}
	return strings.Join(logged, "\n")
}
