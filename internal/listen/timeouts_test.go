package listen_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// Clients that keep a connection busy without completing a request are disconnected in time, and delay no other client.
func TestSlowClientsAreCut(t *testing.T) {
	const upgrade = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	const endless = "Content-Length: 5000\r\n\r\n{"
	hello := apptest.Frame(apptest.JoinText)
	for name, c := range map[string]struct {
		first, drip string        // the client sends `first` at once, and then `drip` byte by byte, again and again
		every       time.Duration // time between two bytes of drip
		most        time.Duration // time after which the connection must be closed at the latest
	}{
		"not a word":      {"", "", 0, 11 * time.Second},
		"one byte":        {"G", "", 0, 11 * time.Second},
		"headers":         {"GET /ping HTTP/1.1\r\nHost: x\r\n", "X: x\r\n", time.Second, 11 * time.Second},
		"one long header": {"GET /ping HTTP/1.1\r\nHost: x\r\nX: ", "x", time.Second / 10, 11 * time.Second},
		"a body":          {"POST /getToken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $CREDENTIAL\r\n" + endless, " ", time.Second, 31 * time.Second},
		"chunks":          {"POST /getToken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $CREDENTIAL\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second, 31 * time.Second},
		// The server refuses these requests before it reads their body.
		"no credential":      {"POST /getToken HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"chunks by nobody":   {"POST /getToken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second / 10, 2 * time.Second},
		"a bad credential":   {"POST /v1/revocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"no renewal's key":   {"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a made-up key":      {"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a leave's key":      {"POST /v1/sessions/S/leave HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 6 * time.Second},
		"a body of a GET":    {"GET /ping HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of no path":  {"POST /nowhere HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of no hello": {"POST /v1/ws HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"nothing after":      {"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "", 0, 651 * time.Second},
		"no join":            {upgrade, "", 0, 20 * time.Second},
		"half a join":        {upgrade + string(hello[:20]), "", 0, 20 * time.Second},
		"a join in drips":    {upgrade + string(hello[:6]), " ", time.Second, 20 * time.Second},
		"pings and no end":   {upgrade, string([]byte{0x89, 0x80, 0, 0, 0, 0}), time.Second, 20 * time.Second},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secured), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := apptest.NewLoggedNode(t, func(conf *app.Config) {
						apptest.WithCredentials(conf)
						if secured {
							conf.TLSCertFile, conf.TLSKeyFile = newCertificateFiles(t, "calls.test")
						}
					})
					c := c
					c.first = strings.Replace(c.first, "$CREDENTIAL", apptest.Pass(nil), 1)
					conn, err := g.Network.Dial(t.Context(), "", apptest.ServiceAddress)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if secured && c.first != "" && c.first != "G" { // the other two cases end before TLS begins
						conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
					}
					start := time.Now()
					gone := make(chan time.Duration)
					go func() {
						_, _ = io.Copy(io.Discard, conn) // it ends
						gone <- time.Since(start)
					}()
					stop := make(chan struct{})
					dripped := make(chan struct{})
					go func() {
						defer close(dripped)
						_, err := io.WriteString(conn, c.first)
						for i := 0; err == nil && c.drip != ""; i++ {
							select {
							case <-time.After(c.every):
								_, err = io.WriteString(conn, c.drip[i%len(c.drip):][:1])
							case <-stop:
								return
							}
						}
					}()
					var took time.Duration
					select {
					case took = <-gone:
						_ = conn.Close()
					case <-time.After(time.Hour):
						_ = conn.Close()
						took = <-gone
					}
					close(stop)
					<-dripped
					if took > c.most {
						t.Errorf("cut off after %s", took)
					}
					if n := g.Metrics()["refresher_sessions"]; n != 0 {
						t.Errorf("%v sessions", n)
					}
				})
			})
		}
	}
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		conn, err := g.Network.Dial(t.Context(), "", apptest.ServiceAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second) // bubble: the server allows 30 s for an answer
		if text, err := io.ReadAll(conn); err != nil || len(text) != 0 {
			t.Errorf("it still had %q, %v", text, err)
		}
	})
}

// newCertificateFiles makes a certificate for a host, and returns the paths of its certificate and key files.
func newCertificateFiles(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, host, certificate, key)
	return certificate, key
}

func writeCertificate(t *testing.T, host, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLSByFiles serves TLS over a real socket and replaces the certificate files meanwhile.
func TestTLSByFiles(t *testing.T) {
	certificate, key := newCertificateFiles(t, "calls.test")
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.TLSCertFile, c.TLSKeyFile = certificate, key
	}, app.Outside{}, nil)
	// client trusts the certificate that is in the file at the time of the call.
	client := func() *http.Client {
		text, err := os.ReadFile(certificate)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		return &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "calls.test"},
		}}
	}
	get := func(client *http.Client) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.App.Addr().String()+"/rtm/ana", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+apptest.Pass(nil))
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
	first := client()
	if err := get(first); err != nil {
		t.Error(err)
	}
	c, _, err := websocket.Dial(t.Context(), "wss://"+g.App.Addr().String()+"/v1/ws", &websocket.DialOptions{HTTPClient: first})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	s := apptest.NewSocket(t, c)
	s.Send(`{"type":"join","auth":"` + apptest.Pass(nil) + `","rtm":{"userId":"u"}}`)
	s.Expect(protocol.TypeJoined)

	// A connection without TLS gets no HTTP answer.
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(plain); err != nil || strings.Contains(string(said), "pong") {
		t.Errorf("in the clear: %q, %v", said, err)
	}

	writeCertificate(t, "calls.test", certificate, key)
	second := client()
	g.Reloads <- syscall.SIGHUP
	g.Log.Await("has changed and was read again")
	if err := get(second); err != nil {
		t.Error(err)
	}
	if err := get(first); err == nil {
		t.Error("the old certificate is still in use")
	}
	// A connection that is open during the change stays open.
	s.Send(`{"type":"ping"}`)
	s.Expect(protocol.TypePong)
	if log := g.Log.Take(); strings.Contains(log, "PRIVATE") {
		t.Errorf("the log shows the key: %s", log)
	}

	// A certificate and key that do not match are not used.
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Reloads <- syscall.SIGHUP
	g.Log.Await("level=ERROR")
	if err := get(second); err != nil {
		t.Error(err)
	}
}

// An idle connection is kept for longer than the 600 s of Google's load balancers. Otherwise a balancer could
// send a request on a connection that the node is just closing.
func TestIdleConnectionOutlivesBalancers(t *testing.T) {
	for _, idle := range []time.Duration{650 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			g := apptest.NewLoggedNode(t, func(c *app.Config) { c.IdleTimeout = idle })
			conn, err := g.Network.Dial(t.Context(), "", apptest.ServiceAddress)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for range 2 {
				if _, err := io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				time.Sleep(idle - time.Second) // bubble
			}
			time.Sleep(time.Second) // bubble
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("after %s: %v", idle, err)
			}
		})
	}
}
