package listen_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app/apptest"
)

// Requests that do not end are cut off when the service stops, and the stop still succeeds, which start
// checks.
func TestSlowRequestDoesNotHoldUpTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		n := w.StartNode()
		c, err := w.Network.Dial(t.Context(), "", apptest.ServiceAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /getToken HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\n{", apptest.ServiceAddress); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		n.Stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopped after %s", took)
		}
		w.End()
	})
}
