//go:build programs

package proxies

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// secret must not appear in a log.
const secret = "SECRETSECRETSECRET"

// Requests to the classic token endpoints pass with their bodies, a request that is too large
// gets a clear answer, and the log has no secrets.
func TestHTTP(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 2)
		p := start(t, k, nodes)
		client := &http.Client{Transport: p.transport("127.0.0.2")}
		type answer struct {
			Token, RTCToken, Message, Error string
		}
		ask := func(method, path, body string, header ...string) (int, answer) {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), method, p.url("https", path), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(header); i += 2 {
				request.Header.Set(header[i], header[i+1])
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			var a answer
			_ = json.Unmarshal(text, &a) // an answer of the proxy itself is not JSON
			return response.StatusCode, a
		}

		if status, a := ask("GET", "/ping", ""); status != 200 || a.Message != "pong" {
			t.Errorf("GET /ping: %d, %v", status, a)
		}
		status, a := ask("GET", "/rtc/c/publisher/uid/1/?expiry=3600&credential="+secret, "", "Authorization", "Bearer "+secret)
		if status != 200 || !strings.HasPrefix(a.RTCToken, "007") {
			t.Errorf("GET /rtc: %d, %v", status, a)
		}
		// The proxy passes an encoded path on unchanged: the node decodes it, and the encoded part is one channel.
		if status, a := ask("GET", "/rtc/a%2Fb%20c/publisher/uid/1/", ""); status != 400 || a.Error == "" {
			t.Errorf("GET /rtc of a channel with a slash: %d, %v; want the node's own refusal", status, a)
		}
		status, a = ask("POST", "/getToken", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"1","expire":3600}`)
		if status != 200 || !strings.HasPrefix(a.Token, "007") {
			t.Errorf("POST /getToken: %d, %v", status, a)
		}
		large := strings.Repeat("x", 9000)
		if status := p.sendRaw("POST /getToken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n" + large); status != k.bodyTooLarge {
			t.Errorf("POST of 9,000 bytes: %d; want %d", status, k.bodyTooLarge)
		}
		large = strings.Repeat("x", 30_000)
		if status := p.sendRaw("GET /ping HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + large + "\r\n\r\n"); status != k.headerTooLarge {
			t.Errorf("a header of 30,000 bytes: %d; want %d", status, k.headerTooLarge)
		}
		if status, _ := ask("GET", "/metrics", ""); status != 404 {
			t.Errorf("GET /metrics: %d; want 404", status)
		}

		// This request has a credential in the path, as UIKits send it.
		if status, _ := ask("GET", "/with/"+secret+"/rtc/c/publisher/uid/7/?credential="+secret, ""); status != 404 {
			t.Errorf("GET /with: %d; want 404, since the nodes take no credentials in paths", status)
		}
		// This request comes from an app whose base URL ends with an additional slash.
		if status, _ := ask("GET", "//with//"+secret+"/rtm/c/", ""); status != 404 {
			t.Errorf("GET //with//: %d; want 404", status)
		}

		// While no node runs, the proxy also logs errors, which must contain no secret either.
		for _, n := range nodes {
			n.Kill()
		}
		if status, _ := ask("GET", "/rtc/gone/publisher/uid/1/?credential="+secret, "", "Authorization", "Bearer "+secret); status != 502 && status != 503 {
			t.Errorf("GET /rtc without nodes: %d; want 502 or 503", status)
		}

		if status, _ := ask("GET", "/with/"+secret+"/rtm/gone/", ""); status != 502 && status != 503 {
			t.Errorf("GET /with without nodes: %d; want 502 or 503", status)
		}

		// The proxy writes the log line after the answer.
		err := p.log.Await(0, p.process.Done(), nodetest.Patience, func(l program.Line) bool { return accessLine(l.Text, "/rtm/gone/") })
		if err != nil {
			t.Errorf("no line of the access log for the last request: %v", err)
		}
		logged := p.logged()
		if !strings.Contains(logged, "/rtc/c/publisher/uid/1") || !strings.Contains(logged, "/with/") || !strings.Contains(logged, "127.0.0.2") {
			t.Errorf("the access log does not have the request's path and its client")
		}
		if strings.Contains(logged, secret) {
			t.Errorf("a query string or a credential is in the log")
		}
	})
}

// HAProxy waits for a slow body, for a limited time, so that no node has to wait.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	nodes := nodetest.StartFleet(t, 1)
	p := start(t, &haproxy, nodes, "timeout http-request    10s", "timeout http-request    300ms")
	if status := p.sendRaw("POST /getToken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{"); status != http.StatusRequestTimeout {
		t.Errorf("it is answered with %d; want 408", status)
	}
}

// The limits apply to the client's real address, whatever its headers claim.
func TestClientAddress(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 1, "--trusted-proxies=127.0.0.1", "--address-rate=3", "--log-level=debug")
		p := start(t, k, nodes)
		// get requests a token, and claims another address in its headers each time.
		get := func(from string, i int) int {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url("https", "/rtc/c/publisher/uid/1/"), nil)
			if err != nil {
				t.Fatal(err)
			}
			claim := "203.0.113." + string(rune('0'+i%10))
			request.Header.Set("X-Forwarded-For", claim)
			request.Header.Add("X-Forwarded-For", claim)
			request.Header.Set("Forwarded", "for="+claim)
			client := &http.Client{Transport: p.transport(from)}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			return response.StatusCode
		}
		refused := false
		for i := range 300 {
			if refused = get("127.0.0.2", i) == http.StatusTooManyRequests; refused {
				break
			}
		}
		if !refused {
			t.Error("a client that claims other addresses was never refused")
		}
		if status := get("127.0.0.3", 0); status != http.StatusOK {
			t.Errorf("another client is answered with %d; want 200: the limit was the proxy's", status)
		}
	})
}

// sendRaw sends a request as it is, and returns the status of its answer. The proxy may answer
// and close the connection before it has the whole request; net/http's client would treat that
// as an error.
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

// accessLine reports whether a line is an access log entry for the path.
func accessLine(line, path string) bool {
	return strings.Contains(line, path) && !strings.Contains(line, " [error] ") && !strings.Contains(line, "http.log.error")
}

// logged returns all log lines that the proxy's own configuration causes. It leaves out
// nginx's error output, which is a second log for the tests alone.
func (p *proxy) logged() string {
	p.t.Helper()
	if p.kind != &nginx {
		return p.log.Tail(p.log.Len())
	}
	text, err := os.ReadFile(p.path("error.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	logged := []string{string(text)}
	for _, line := range p.log.Lines(0) {
		if !strings.Contains(line.Text, "#") { // nginx puts process and thread into each line of an error log
			logged = append(logged, line.Text)
		}
	}
	return strings.Join(logged, "\n")
}
