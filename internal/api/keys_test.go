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

// clients accepts every resume key except "unknown", and stores the last request.
type clients struct {
	err error
	got session.Resume
}

func (c *clients) Open(r *session.Resume) error {
	if r.Key == "unknown" {
		return session.ErrUnknown
	}
	return nil
}

func (c *clients) RenewByKey(_ context.Context, r session.Resume) (session.Push, error) {
	c.got = r
	return session.Push{Seq: 2, Tokens: session.Tokens{RTM: "t", ExpiresAt: 160}, Cause: session.CauseRenew, Attempt: 1, Now: 100_000}, c.err
}

func (c *clients) LeaveByKey(_ context.Context, r session.Resume) error {
	c.got = r
	return c.err
}

func TestRequestsByKey(t *testing.T) {
	ended := func(reason session.EndReason) error {
		return &session.EndedError{Ending: session.Ending{Reason: reason, AccessEndsAt: 160}}
	}
	const push = `{"type":"token-privilege-will-expire","seq":2,"tokens":{"rtm":{"token":"t","expiresAt":160}},` +
		`"previousExpiresAt":0,"action":"renew","attempt":1,"cause":"renew","now":100000}`
	tooLong := strings.Repeat(" ", maxBody) + "{}"
	for name, c := range map[string]struct {
		request, auth string
		err           error
		want          session.Resume
		status        int
		text          string
	}{
		"renew":                     {"renew", "Bearer K", nil, session.Resume{Session: "S", Key: "K", SeqUnknown: true}, 200, push},
		"renew, with its tokens":    {`renew {"seq":0,"expiresAt":160}`, "bearer K", nil, session.Resume{Session: "S", Key: "K", ExpiresAt: 160}, 200, push},
		"renew, but it has ended":   {"renew", "Bearer K", ended(session.EndLeft), session.Resume{Session: "S", Key: "K", SeqUnknown: true}, 410, `"reason":"left","accessEndsAt":160}`},
		"renew without a key":       {"renew", "", nil, session.Resume{}, 401, `"status":401}`},
		"renew, another scheme":     {"renew", "Basic K", nil, session.Resume{}, 401, `"status":401}`},
		"renew, unknown key":        {"renew " + tooLong, "Bearer unknown", nil, session.Resume{}, 404, `"status":404}`},
		"renew, long body":          {"renew " + tooLong, "Bearer K", nil, session.Resume{}, 400, `"status":400}`},
		"renew, no JSON":            {"renew {", "Bearer K", nil, session.Resume{}, 400, `"status":400}`},
		"leave":                     {"leave", "Bearer K", nil, session.Resume{Session: "S", Key: "K"}, 204, ""},
		"leave, the key as text":    {`leave {"key":"K","seq":1,"expiresAt":160}`, "", nil, session.Resume{Session: "S", Key: "K", Seq: 1, ExpiresAt: 160}, 204, ""},
		"leave, but it has ended":   {"leave {}", "Bearer K", ended(session.EndExpired), session.Resume{Session: "S", Key: "K"}, 204, ""},
		"leave with an older key":   {"leave", "Bearer K", ended(session.EndSuperseded), session.Resume{Session: "S", Key: "K"}, 410, `"reason":"superseded","accessEndsAt":160}`},
		"leave with an unknown key": {"leave", "Bearer K", session.ErrUnknown, session.Resume{Session: "S", Key: "K"}, 404, `"status":404}`},
		"leave without a key":       {`leave {"key":""}`, "", nil, session.Resume{}, 401, `"status":401}`},
		"leave, a key of number":    {`leave {"key":1}`, "", nil, session.Resume{}, 400, `"status":400}`},
	} {
		f := &clients{err: c.err}
		conf := config(t)
		conf.Clients = f
		w := answer(t, conf, "POST /v1/sessions/S/"+c.request, "Authorization", c.auth)
		if w.Code != c.status || f.got != c.want || !strings.HasSuffix(w.Body.String(), c.text) {
			t.Errorf("%s: %d %s, asked for %+v", name, w.Code, w.Body, f.got)
		}
		if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
	}
}

type waiter struct {
	clients
	asked, ended chan struct{}
}

func (w *waiter) RenewByKey(ctx context.Context, _ session.Resume) (session.Push, error) {
	close(w.asked)
	<-ctx.Done()
	close(w.ended)
	return session.Push{}, ctx.Err()
}

// If a client hangs up during its renewal, the renewal is cancelled.
func TestRenewalEndsWithItsRequest(t *testing.T) {
	for _, body := range []string{"", `{"seq":1}`} {
		w := &waiter{asked: make(chan struct{}), ended: make(chan struct{})}
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
