package files

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiresSoon is how long before its expiry a certificate causes a warning when it is loaded.
const expiresSoon = 14 * 24 * time.Hour

// TLS returns a server's configuration, for TLS 1.2 and newer, from a PEM file with the certificate chain and one with
// the private key. w follows the files: each handshake uses the newest chain and key that match. Loading a certificate
// that expires soon logs a warning. The gauge refresher_tls_certificate_expires_seconds has the certificate's expiry.
// Without files TLS returns nil. Call TLS only once per Registerer of a Watcher, since each call registers the gauge.
// Servers on several ports can share the result.
func TLS(w *Watcher, certFile, keyFile string) (*tls.Config, error) {
	if certFile == "" && keyFile == "" {
		return nil, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, errors.New("tls-cert-file, tls-key-file: want both or none")
	}
	expires := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_tls_certificate_expires_seconds",
		Help: "When the TLS certificate in use expires (NotAfter), in Unix seconds.",
	})
	var current atomic.Pointer[tls.Certificate]
	load := func(contents [][]byte) error {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		if err != nil {
			return fmt.Errorf("certificate %s and key %s: %w", certFile, keyFile, err)
		}
		current.Store(&pair)
		end := pair.Leaf.NotAfter
		expires.Set(float64(end.Unix()))
		if left := time.Until(end); left < expiresSoon {
			w.logger.Warn("TLS certificate expires soon, or has expired", "files", certFile, "not_after", end.UTC(), "left_hours", int(left.Hours()))
		}
		return nil
	}
	if err := w.Follow(load, certFile, keyFile); err != nil {
		return nil, fmt.Errorf("tls-cert-file, tls-key-file: %w", err)
	}
	w.registerer.MustRegister(expires)
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, nil
}
