package app

import (
	"io"
	"net"
	"strings"
	"testing"
)

// Connections that fail their TLS handshake, over real sockets.
func TestFailedHandshakesDoNotFloodTheLog(t *testing.T) {
	certificate, key := newCertificateFiles(t, "calls.test")
	g := startGuarded(t, func(c *Config) {
		guard(c)
		c.TLSCertFile, c.TLSKeyFile = certificate, key
	}, Outside{}, nil)
	for range 50 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.app.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "this is no handshake, whatever it may be"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // hung up on once that was logged
		_ = c.Close()
	}
	if log := g.log.take(); strings.Count(log, "TLS handshake error") != 1 {
		t.Errorf("of 50 handshakes that fail the log has %s", log)
	}
}
