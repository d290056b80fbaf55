package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/agora"
	"refresher/internal/client"
	"refresher/internal/edge"
	"refresher/internal/protocol"
)

// nextCertificate is the one that testCertificate is replaced by.
const nextCertificate = "0123456789abcdef0123456789ABCDEF"

// rotation is the answer about a roll-over.
type rotation struct {
	ID, Certificate            string
	At, Over                   int64
	Sessions, Renewed, Pending int
	Done                       bool
	Nodes                      []struct {
		Node, Note     string
		Sessions, Done int
	}
	Silent []string
}

// rotated is a service whose nodes read their certificates from files, and calls
// that the judge holds.
type rotated struct {
	*operated
	dir  string
	held []*heldCall
}

// heldCall is a call and what it was given.
type heldCall struct {
	user string
	mu   sync.Mutex
	had  []bundle // guarded by mu
}

// bundle is one set of tokens that a call was given.
type bundle struct {
	client.Bundle
	at time.Time
}

func newRotated(t *testing.T, nodes int) *rotated {
	t.Helper()
	r := &rotated{dir: t.TempDir()}
	for i := range nodes {
		r.write(t, i, testCertificate)
	}
	r.operated = newOperated(t, nodes, func(i int, c *Config) {
		text, err := os.ReadFile(r.file(i))
		if err != nil {
			t.Fatal(err)
		}
		c.Projects[0].CertificateFile, c.Projects[0].Certificates = r.file(i), strings.Fields(string(text))
	})
	return r
}

func (r *rotated) file(node int) string {
	return filepath.Join(r.dir, fmt.Sprintf("node%d", node))
}

// write changes a node's certificate file.
func (r *rotated) write(t *testing.T, node int, certificates ...string) {
	t.Helper()
	if err := os.WriteFile(r.file(node), []byte(strings.Join(certificates, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hold begins calls, each of an RTC and an RTM leg.
func (r *rotated) hold(calls int, ttl int64) {
	for i := range calls {
		h := &heldCall{user: strconv.Itoa(i + 1)}
		r.held = append(r.held, h)
		r.holdOne(h, uint32(i+1), ttl)
	}
}

func (r *rotated) holdOne(h *heldCall, uid uint32, ttl int64) {
	var rtc, rtm *edge.Call
	c := client.New(client.Config{
		URL: "ws://" + balancerAddress + "/v1/ws", HTTPClient: r.httpClient(),
		Join: protocol.ClientMessage{
			Auth: r.user, RTC: &protocol.RTC{Channel: "c", UID: &uid, Role: 1}, RTM: &protocol.User{UserID: h.user}, TTL: &ttl,
		},
		Apply: func(_ context.Context, b client.Bundle) error {
			h.mu.Lock()
			h.had = append(h.had, bundle{b, time.Now()})
			h.mu.Unlock()
			if !b.First && b.Action != protocol.ActionRejoin {
				r.renewals.Add(1)
				return errors.Join(rtc.Renew(b.Tokens.RTC.Token), rtm.Renew(b.Tokens.RTM.Token))
			}
			var first, second error
			rtc, first = r.edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: h.user, Token: b.Tokens.RTC.Token})
			rtm, second = r.edge.Join(edge.JoinRequest{Leg: edge.RTM, User: h.user, Token: b.Tokens.RTM.Token})
			return errors.Join(first, second)
		},
	})
	r.calls.Go(func() {
		if err := c.Run(r.ctx); !errors.Is(err, context.Canceled) {
			r.t.Errorf("call %s ended: %v", h.user, err)
		}
	})
}

// last is what a call was given last.
func (h *heldCall) last() bundle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.had[len(h.had)-1]
}

// signedBy demands that both tokens of a bundle are signed with a certificate.
func (r *rotated) signedBy(certificate, user string, b bundle) bool {
	r.t.Helper()
	for text, channel := range map[string]string{b.Tokens.RTC.Token: "c", b.Tokens.RTM.Token: ""} {
		token, err := agora.Parse(text)
		if err != nil {
			r.t.Fatal(err)
		}
		if token.Verify(certificate, agora.Holder{Channel: channel, User: user}) != nil {
			return false
		}
	}
	return true
}

// signed counts the calls whose newest tokens are signed with a certificate.
func (r *rotated) signed(certificate string) (n int) {
	for _, h := range r.held {
		if r.signedBy(certificate, h.user, h.last()) {
			n++
		}
	}
	return n
}

// accept has the judge take those certificates.
func (r *rotated) accept(primary, secondary string) {
	r.t.Helper()
	if err := r.edge.SetCertificates(primary, secondary); err != nil {
		r.t.Fatal(err)
	}
}

// The certificate changes on all nodes, and an operator has all calls renewed with
// the new one over a minute. Meanwhile the node is killed that was asked. No call
// notices, and when Agora takes the old one no more, nobody needs it.
func TestRotationRenewsEveryCall(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newRotated(t, 3).roll(killed) })
		})
	}
}

func (r *rotated) roll(killed bool) {
	t := r.t
	const calls = 90
	r.hold(calls, 3600)
	time.Sleep(time.Minute) // bubble
	r.accept(testCertificate, nextCertificate)
	for i := range r.nodes {
		r.write(t, i, nextCertificate, testCertificate)
	}
	time.Sleep(10 * time.Second) // bubble
	if n := r.signed(nextCertificate); n != 0 {
		t.Errorf("%d calls have new tokens before anybody asked", n)
	}

	began := time.Now()
	var view rotation
	r.order(0, http.MethodPost, "/v1/rotations", `{"over":60}`, &view)
	if view.Certificate == "" || view.Over != 60 || view.Sessions != calls || view.Done {
		t.Errorf("at the beginning: %+v", view)
	}
	time.Sleep(time.Until(began.Add(20 * time.Second))) // bubble
	if killed {
		r.replace(0)
		time.Sleep(5 * time.Second) // bubble
	}
	seen := 0
	for i := range r.nodes {
		r.order(i, http.MethodGet, "/v1/rotations/"+view.ID, "", &view)
		if view.Renewed == 0 || view.Done || !killed && view.Renewed+view.Pending != calls {
			t.Errorf("by node %d, halfway: %+v", i, view)
		}
		// Of itself a node knows best; what it says of others is a second or
		// two old, in which three calls or so are renewed.
		if lag := view.Renewed - seen; seen != 0 && max(lag, -lag) > 6 {
			t.Errorf("node %d says %d, another %d", i, view.Renewed, seen)
		}
		seen = view.Renewed
	}
	if now := r.signed(nextCertificate); !killed && (seen > now || seen < now-6) {
		t.Errorf("told of %d renewed calls, there are %d", seen, now)
	}

	time.Sleep(time.Until(began.Add(65 * time.Second))) // bubble
	if n := r.signed(nextCertificate); n != calls {
		t.Errorf("%d of %d calls have tokens under the new certificate", n, calls)
	}
	time.Sleep(15 * time.Second) // bubble
	for i := range r.nodes {
		r.order(i, http.MethodGet, "/v1/rotations/"+view.ID, "", &view)
		if !view.Done || view.Renewed != calls || view.Sessions != calls || view.Pending != 0 {
			t.Errorf("by node %d, at the end: %+v", i, view)
		}
	}
	if !killed {
		r.spread(began)
	}

	r.accept(nextCertificate, "")
	time.Sleep(65 * time.Minute) // bubble
	record := r.verdict(calls)
	t.Logf("%d calls, %d renewals, %v call-seconds lost, at least %.1f s left", calls, r.renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds)
}

// spread demands that each call was renewed once for the certificate, and that not
// all were at the same time.
func (r *rotated) spread(began time.Time) {
	var tenths [6]int
	for _, h := range r.held {
		h.mu.Lock()
		pushes := slices.DeleteFunc(slices.Clone(h.had), func(b bundle) bool { return b.Cause != "certificate" })
		h.mu.Unlock()
		if len(pushes) != 1 {
			r.t.Errorf("call %s was renewed %d times for the certificate", h.user, len(pushes))
			continue
		}
		if n := int(pushes[0].at.Sub(began) / (10 * time.Second)); n >= 0 && n < len(tenths) {
			tenths[n]++
		} else {
			r.t.Errorf("call %s: %v after the order", h.user, pushes[0].at.Sub(began))
		}
	}
	for _, n := range tenths {
		if n == 0 || n > len(r.held)/2 {
			r.t.Errorf("not spread: %v in each ten seconds", tenths)
		}
	}
	r.t.Logf("renewed in each ten seconds: %v", tenths)
}

// A node that was forgotten when the certificate was changed is named, and does its
// part when it has it.
func TestRotationNamesNodesWithAnotherCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotated(t, 3)
		const calls = 30
		r.hold(calls, 3600)
		time.Sleep(time.Minute) // bubble
		r.accept(testCertificate, nextCertificate)
		r.write(t, 0, nextCertificate, testCertificate)
		r.write(t, 2, nextCertificate, testCertificate)
		time.Sleep(10 * time.Second) // bubble
		var view rotation
		r.order(0, http.MethodPost, "/v1/rotations", `{"over":10}`, &view)
		time.Sleep(20 * time.Second) // bubble
		r.order(2, http.MethodGet, "/v1/rotations/"+view.ID, "", &view)
		var named []string
		for _, node := range view.Nodes {
			if node.Note != "" {
				named = append(named, node.Node)
			}
		}
		if want := r.nodes[1].app.node; len(named) != 1 || named[0] != want {
			t.Errorf("named %v, want %s", named, want)
		}
		if view.Done || view.Pending == 0 || view.Renewed == 0 {
			t.Errorf("without one node: %+v", view)
		}
		r.write(t, 1, nextCertificate, testCertificate)
		time.Sleep(20 * time.Second) // bubble
		r.order(2, http.MethodGet, "/v1/rotations/"+view.ID, "", &view)
		if !view.Done || view.Renewed != calls {
			t.Errorf("with it: %+v", view)
		}
		if n := r.signed(nextCertificate); n != calls {
			t.Errorf("%d of %d calls have tokens under the new certificate", n, calls)
		}
		r.verdict(calls)
	})
}

// Whoever is away during a roll-over has tokens under the new certificate when it
// is back.
func TestRotationWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotated(t, 2)
		l := r.join(0, r.user, `"rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"},"ttl":600`)
		time.Sleep(time.Second) // bubble
		l.hangUp()
		for i := range r.nodes {
			r.write(t, i, nextCertificate, testCertificate)
		}
		time.Sleep(10 * time.Second) // bubble
		var view rotation
		r.order(1, http.MethodPost, "/v1/rotations", `{"over":0}`, &view)
		if !view.Done || view.Sessions != 0 {
			t.Errorf("nobody is connected: %+v", view)
		}
		again := r.open(r.nodes[1].address, l.resumeMessage())
		joined := again.joined()
		var b bundle
		b.Tokens = joined.Tokens
		if !r.signedBy(nextCertificate, "1", b) {
			t.Error("a client that is back has tokens under the old certificate")
		}
	})
}

func TestRotationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		for _, c := range []struct {
			credential, request string
			status              int
		}{
			{s.admin, `POST /v1/rotations {"over":-1}`, 400},
			{s.admin, `POST /v1/rotations {"over":86401}`, 400},
			{s.admin, `POST /v1/rotations {"over":1.5}`, 400},
			{s.admin, `POST /v1/rotations {"over":"60"}`, 400},
			{s.admin, `POST /v1/rotations [`, 400},
			{s.admin, `GET /v1/rotations/none`, 404},
			{s.user, `POST /v1/rotations {}`, 403},
			{s.user, `GET /v1/rotations/none`, 403},
			{"", `POST /v1/rotations {}`, 401},
			{s.admin, `POST /v1/rotations`, 200},
			{s.admin, `POST /v1/rotations {}`, 200},
			{s.admin, `POST /v1/rotations {"over":0}`, 200},
			{s.admin, `POST /v1/rotations {"over":86400}`, 200},
		} {
			method, path, body := splitRequest(c.request)
			if answer, text := s.ask(0, c.credential, method, path, body); answer.StatusCode != c.status {
				t.Errorf("%s: %d %s, want %d", c.request, answer.StatusCode, text, c.status)
			}
		}
		var given revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		if answer, _ := s.ask(1, s.admin, http.MethodGet, "/v1/rotations/"+given.ID, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("a revocation as a rotation: %d", answer.StatusCode)
		}
	})
}
