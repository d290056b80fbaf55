package files

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pair is a self-signed certificate and its key, in PEM.
type pair struct{ cert, key string }

func newPair(t *testing.T, life time.Duration) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(life)}
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
	return pair{block("CERTIFICATE", der), block("PRIVATE KEY", private)}
}

const year = 365 * 24 * time.Hour

func (h *harness) writePair(p pair) {
	h.t.Helper()
	h.write("cert", p.cert)
	h.write("key", p.key)
}

// TestTLS replaces a server's certificate and key files one after the other.
func TestTLS(t *testing.T) {
	run(t, func(h *harness) {
		first, second := newPair(t, year), newPair(t, 2*year)
		h.writePair(first)
		config, err := TLS(h.Watcher, h.path("cert"), h.path("key"))
		h.must(err)
		if config.MinVersion != tls.VersionTLS12 {
			t.Errorf("least version %d", config.MinVersion)
		}
		start := time.Now()
		wantExpiry := func(life time.Duration) {
			t.Helper()
			used, err := config.GetCertificate(nil)
			h.must(err)
			families, err := h.registerer.(*prometheus.Registry).Gather()
			h.must(err)
			metric := families[1].GetMetric()[0].GetGauge().GetValue() // families[0] is refresher_files_broken; families[1] is the certificate's expiry
			if want := start.Add(life); !used.Leaf.NotAfter.Equal(want) || metric != float64(want.Unix()) {
				t.Errorf("the certificate in use expires at %s, by the metric at %f, want %s", used.Leaf.NotAfter, metric, want)
			}
		}
		wantExpiry(year)

		h.write("cert", second.cert)
		h.pass()
		wantExpiry(year)
		h.want(1, "private key does not match")

		h.write("key", second.key)
		h.pass()
		wantExpiry(2 * year)
		h.want(0, readAgain)

		h.must(os.Remove(h.path("key")))
		h.pass()
		wantExpiry(2 * year)
	})
}

func TestTLSRefusals(t *testing.T) {
	good, other := newPair(t, year), newPair(t, year)
	for want, p := range map[string]pair{
		"private key does not match":  {good.cert, other.key},
		"may have been switched":      {good.key, good.cert},
		"failed to find any PEM data": {good.cert, "secret words"},
		"is empty":                    {good.cert, ""},
	} {
		run(t, func(h *harness) {
			h.writePair(p)
			_, err := TLS(h.Watcher, h.path("cert"), h.path("key"))
			if err == nil || !strings.HasPrefix(err.Error(), "tls-cert-file, tls-key-file: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if p.key != "" && strings.Contains(err.Error(), p.key) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestTLSExpiry(t *testing.T) {
	for life, want := range map[time.Duration][]string{
		expiresSoon + time.Minute: nil,
		expiresSoon - time.Minute: {"TLS certificate expires soon"},
		-time.Minute:              {"TLS certificate expires soon"},
	} {
		run(t, func(h *harness) {
			h.writePair(newPair(t, life))
			_, err := TLS(h.Watcher, h.path("cert"), h.path("key"))
			h.must(err)
			h.want(0, want...)
			h.pass()
			h.want(0)
		})
	}
}
