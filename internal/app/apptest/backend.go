package apptest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

const HookSecret = "the secret that signs approval requests"

// ApprovalRequest is one approval request as the back end receives it; an HTTP request has several.
type ApprovalRequest struct {
	ID, Action, App, Session, Subject string
	RTC                               *struct {
		Channel string
		UID     uint32
		Account string
		Role    string
	}
	RTM *struct{ UserID string }
}

// BackEnd is a back end that receives events and approval requests.
type BackEnd struct {
	*httptest.Server
	Mu     sync.Mutex
	decide func(q ApprovalRequest) (allow bool, until session.UnixSec) // guarded by Mu; nil: it answers with status 500
	Reason string                                                      // guarded by Mu; the reason in denials
	Asked  []ApprovalRequest
	Counts []int // guarded by Mu; approval requests in each HTTP request
}

// NewBackEnd starts a back end that allows every request.
func NewBackEnd(t *testing.T) *BackEnd {
	t.Helper()
	b := &BackEnd{}
	b.DecideBy(func(ApprovalRequest) (bool, session.UnixSec) { return true, 0 })
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = hooktest.Verify(HookSecret, r.Header, body)
		}
		var request struct{ Requests []ApprovalRequest }
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			t.Errorf("%s: %v", body, err)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		b.answer(w, request.Requests)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *BackEnd) answer(w http.ResponseWriter, requests []ApprovalRequest) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	b.Counts = append(b.Counts, len(requests))
	b.Asked = append(b.Asked, requests...)
	if b.decide == nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	type decision struct {
		ID    string          `json:"id"`
		Allow bool            `json:"allow"`
		Until session.UnixSec `json:"until,omitempty"`

		Reason string `json:"reason,omitempty"`
	}
	decisions := []decision{}
	for _, q := range requests {
		allow, until := b.decide(q)
		d := decision{ID: q.ID, Allow: allow, Until: until}
		if !allow {
			d.Reason = b.Reason
		}
		decisions = append(decisions, d)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"decisions": decisions})
}

// DecideBy replaces the function that decides. With nil the back end answers with status 500.
func (b *BackEnd) DecideBy(decide func(q ApprovalRequest) (allow bool, until session.UnixSec)) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	b.decide = decide
}

// Refuse makes the back end deny all requests with the given action.
func (b *BackEnd) Refuse(action string) {
	b.DecideBy(func(q ApprovalRequest) (bool, session.UnixSec) { return q.Action != action, 0 })
}

// All returns the approval requests so far.
func (b *BackEnd) All() []ApprovalRequest {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	return slices.Clone(b.Asked)
}

// Supervised starts a back end and a node that checks credentials and requests approvals from it.
func Supervised(t *testing.T, grace time.Duration) (*Node, *BackEnd, string) {
	t.Helper()
	b := NewBackEnd(t)
	n := StartNode(t, func(c *app.Config) {
		c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{Secrets: []string{OperatorSecret}}
		c.Authorize.URL, c.Authorize.Secret, c.Policy.ApprovalGrace = b.URL, HookSecret, grace
		c.Policy.MinTTL = 3 * time.Second
	})
	return n, b, CredentialFor(t, "ana", false)
}
