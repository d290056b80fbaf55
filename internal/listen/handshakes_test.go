package listen_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
)

// Failed TLS handshakes over real sockets are logged at a limited rate.
func TestFailedHandshakesDoNotFloodTheLog(t *testing.T) {
	certificate, key := newCertificateFiles(t, "calls.test")
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.TLSCertFile, c.TLSKeyFile = certificate, key
	}, app.Outside{}, nil)
	for range 50 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.App.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "this is no handshake, whatever it may be"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // the server hangs up after it has logged the failure
		_ = c.Close()
	}
	if log := g.Log.Take(); strings.Count(log, "TLS handshake error") != 1 {
		t.Errorf("of 50 handshakes that fail the log has %s", log)
	}
}
