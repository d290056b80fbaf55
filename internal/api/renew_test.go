package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"refresher/internal/session"
)

// waiter fakes Clients: its renewals wait until their context ends.
type waiter struct {
	Clients

	asked, ended chan struct{}
}

func (waiter) Open(*session.Resume) error { return nil }

func (w waiter) RenewByKey(ctx context.Context, _ session.Resume) (session.Push, error) {
	close(w.asked)
	<-ctx.Done()
	close(w.ended)
	return session.Push{}, ctx.Err()
}

// If a client hangs up during its renewal, the renewal is cancelled.
func TestRenewalEndsWithItsRequest(t *testing.T) {
	for _, body := range []string{"", `{"seq":1}`} {
		w := waiter{asked: make(chan struct{}), ended: make(chan struct{})}
		var log bytes.Buffer
		c := config(t)
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Clients = w
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(a)
		ctx, hangUp := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/sessions/s/renew", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer key")
		go func() {
			<-w.asked
			hangUp()
		}()
		if response, err := s.Client().Do(r); err == nil {
			response.Body.Close()
			t.Errorf("%q: answered with %d", body, response.StatusCode)
		}
		<-w.ended
		s.Close()
		if log.Len() > 0 {
			t.Errorf("%q: logged %s", body, log.String())
		}
	}
}
