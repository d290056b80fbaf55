package files

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// pair is a self-signed certificate and its key, in PEM.
type pair struct{ cert, key string }

func newPair(t *testing.T, name string, life time.Duration) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{"calls.test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return pair{cert: block("CERTIFICATE", der), key: block("PRIVATE KEY", private)}
}

const year = 365 * 24 * time.Hour

// handshake connects as a client that trusts only the certificate in p, and returns the name in the server's
// certificate.
func handshake(t *testing.T, config *tls.Config, p pair, most uint16) (string, error) {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn := tls.Server(far, config)
		_, _ = conn.Write([]byte("hello"))
		_ = conn.Close()
		_ = far.Close()
	}()
	defer func() {
		_ = near.Close()
		<-served
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.cert))
	client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "calls.test", MinVersion: tls.VersionTLS10, MaxVersion: most})
	said, err := io.ReadAll(client)
	if err != nil {
		return "", err
	}
	if string(said) != "hello" {
		t.Errorf("the server said %q", said)
	}
	return client.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func (s *setup) writePair(p pair) {
	s.t.Helper()
	s.write("cert", p.cert)
	s.write("key", p.key)
}

func (s *setup) wantHandshake(config *tls.Config, p pair, name string) {
	s.t.Helper()
	if got, err := handshake(s.t, config, p, 0); err != nil || got != name {
		s.t.Errorf("got certificate %q, %v; want %q", got, err, name)
	}
}

// TestTLS replaces a server's certificate and key files one after the other.
func TestTLS(t *testing.T) {
	bubble(t, func(s *setup) {
		first, second := newPair(t, "first", year), newPair(t, "second", 2*year)
		s.writePair(first)
		config, err := TLS(s.Watcher, s.path("cert"), s.path("key"))
		if err != nil {
			t.Fatal(err)
		}
		s.wantHandshake(config, first, "first")
		s.wantExpiry(time.Now().Add(year))
		if _, err := handshake(t, config, first, tls.VersionTLS12); err != nil {
			t.Errorf("TLS 1.2: %v", err)
		}
		if _, err := handshake(t, config, first, tls.VersionTLS11); err == nil {
			t.Error("TLS 1.1 was spoken")
		}
		start := time.Now()

		s.write("cert", second.cert)
		s.pass()
		s.wantHandshake(config, first, "first")
		s.wantExpiry(start.Add(year))
		s.wantBroken(1)

		s.write("key", second.key)
		s.pass()
		s.wantHandshake(config, second, "second")
		s.wantExpiry(start.Add(2 * year))
		s.wantBroken(0)
		s.wantLog("private key does not match", readAgain)

		s.remove("key")
		s.write("cert", "half a certif")
		s.pass()
		s.wantHandshake(config, second, "second")
	})
}

func (s *setup) wantExpiry(want time.Time) {
	s.t.Helper()
	if got := s.gauge("refresher_tls_certificate_expires_seconds"); got != float64(want.Unix()) {
		s.t.Errorf("expires at %v, want %d", got, want.Unix())
	}
}

func TestTLSRefusals(t *testing.T) {
	good, other := newPair(t, "good", year), newPair(t, "other", year)
	for name, c := range map[string]struct {
		pair
		want string
	}{
		"not a pair": {pair{good.cert, other.key}, "private key does not match"},
		"switched":   {pair{good.key, good.cert}, "may have been switched"},
		"no PEM":     {pair{good.cert, "secret words"}, "failed to find any PEM data"},
		"empty":      {pair{good.cert, ""}, "is empty"},
	} {
		bubble(t, func(s *setup) {
			s.writePair(c.pair)
			config, err := TLS(s.Watcher, s.path("cert"), s.path("key"))
			if config != nil || err == nil || !strings.HasPrefix(err.Error(), "tls-cert-file, tls-key-file: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			if c.key != "" && strings.Contains(err.Error(), c.key) {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		})
	}
}

func TestTLSExpiry(t *testing.T) {
	const warned = "TLS certificate ends soon"
	for _, c := range []struct {
		life time.Duration
		want []string
	}{
		{expiresSoon + time.Minute, nil},
		{expiresSoon - time.Minute, []string{warned}},
		{-time.Minute, []string{warned}},
	} {
		bubble(t, func(s *setup) {
			s.writePair(newPair(t, "a", c.life))
			if _, err := TLS(s.Watcher, s.path("cert"), s.path("key")); err != nil {
				t.Fatal(err)
			}
			s.wantLog(c.want...)
			s.pass()
			s.wantLog()
			s.writePair(newPair(t, "b", c.life))
			s.pass()
			s.wantLog(append(c.want, readAgain)...)
		})
	}
}
