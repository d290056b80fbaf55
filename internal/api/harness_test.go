package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/origin"
	"refresher/internal/rotation"
	"refresher/internal/session"
	"refresher/internal/store"
)

// config returns the Config of an API with the fakes of this file. Fields without a fake panic when they are used.
func config(t *testing.T) Config {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	origins, err := origin.New(origin.Config{Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Minter: minter{}, Clients: struct{ Clients }{}, Access: access{}, Sessions: noStore{}, Cursors: cursors{},
		Wishes: struct{ Wishes }{}, Revocations: struct{ Revocations }{},
		Inspect:      func(string, agora.Use) agora.Report { return agora.Report{} },
		Certificates: func(context.Context, string) (rotation.Report, error) { return rotation.Report{}, errAway },
		Policy:       session.Policy{TTL: time.Hour, MaxTTL: 24 * time.Hour, MaxSession: 24 * time.Hour},
		Logger:       logger, Origins: origins, Registerer: prometheus.NewRegistry(),
		WebSocket: http.NotFoundHandler(), Ready: func() bool { return true },
	}
}

// answer returns the answer to a request such as `POST /getToken {"tokenType":"rtm"}`.
func answer(t *testing.T, c Config, request string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	c.Registerer = prometheus.NewRegistry()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	method, target, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(target, " ")
	r := httptest.NewRequestWithContext(t.Context(), method, "http://calls.example"+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// access authorizes every request without a rate limit, and accepts the credentials "user", "operator" and "long-lived".
type access struct{ Access }

func (access) RateLimit(netip.Addr) time.Duration  { return 0 }
func (access) ClientAddr(*http.Request) netip.Addr { return netip.Addr{} }

func (access) Authorize(context.Context, session.Request) session.Decision {
	return session.Decision{Allowed: true}
}

func (access) Authenticate(_ context.Context, credential string) (session.Caller, error) {
	c := session.Caller{App: "app", Subject: "ana", ExpiresAt: session.SecOf(time.Now().Add(time.Hour)), Grant: session.Grant{All: true}}
	switch credential {
	case "user":
	case "operator":
		c.Admin = true
	case "long-lived":
		c.ExpiresAt = session.SecOf(time.Now().Add(61 * time.Minute))
	default:
		return session.Caller{}, session.Errorf(session.CodeUnauthenticated, "no such credential")
	}
	return c, nil
}

type crowded struct{ access }

func (crowded) RateLimit(netip.Addr) time.Duration { return time.Second }

// minter makes tokens whose text names their user, channel and role.
type minter struct{ Minter }

func (minter) Mint(_ string, id session.Identity, _ session.Format, _ session.Cause, _, _ session.UnixSec) (session.Tokens, error) {
	var tokens session.Tokens
	if c := id.RTC; c != nil {
		tokens.RTC = fmt.Sprintf("%s in %s, %s", c.User(), c.Channel, c.Role)
	}
	if u := id.RTM; u != nil {
		tokens.RTM = u.UserID
	}
	return tokens, nil
}

func (minter) MintStream(_ string, c session.RTC, u session.RTM, _ session.Cause, _, _ session.UnixSec) (string, error) {
	return fmt.Sprintf("%s with streams as %s in %s, %s", u.UserID, c.User(), c.Channel, c.Role), nil
}

type cursors struct{}

func (cursors) SealCursor(app, cursor string) (string, error) { return app + "." + cursor, nil }

func (cursors) OpenCursor(app, sealed string) (cursor string, ok bool) {
	return strings.CutPrefix(sealed, app+".")
}

var errAway = errors.New("the store is away")

type noStore struct{ store.Lister }

func (noStore) IDs(context.Context, int) ([]string, error) { return nil, errAway }
func (noStore) Get(context.Context, string) (store.Record, bool, error) {
	return store.Record{}, false, errAway
}
