package apptest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

const HookSecret = "the secret that signs approval requests"

// ApprovalRequest is one approval request as the back end receives it. An HTTP request may have several of them.
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

// BackEnd is a back end that decides about approval requests.
type BackEnd struct {
	*httptest.Server
	Mu sync.Mutex
	// decide is guarded by Mu. If it is nil, the back end answers with status 500.
	decide func(q ApprovalRequest) (allow bool, until session.UnixSec)
	Reason string // guarded by Mu; the reason in denials
	asked  []ApprovalRequest
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
	b.asked = append(b.asked, requests...)
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

// DecideBy replaces the function that decides. If it is nil, the back end answers with status 500.
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
	return slices.Clone(b.asked)
}
