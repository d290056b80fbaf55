//go:build !race

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/client"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/rotation"
	"refresher/web/demo/edge"
)

// rotationSpread is the certificate spread in these tests.
const rotationSpread = time.Minute

// readWithin is longer than a node takes to read a changed file.
const readWithin = 6 * time.Second

// rotated is a service whose nodes read their certificates from files, with some calls.
type rotated struct {
	*apptest.Cluster
	dir  string
	held []*heldCall
}

// heldCall is a call with the bundles that it received.
type heldCall struct {
	user string
	mu   sync.Mutex
	had  []bundle // guarded by mu
}

// bundle is one bundle that a call received.
type bundle struct {
	client.Tokens
	at time.Time
}

func newRotated(t *testing.T, nodes int) *rotated {
	t.Helper()
	r := &rotated{dir: t.TempDir()}
	for i := range nodes {
		r.write(t, i, apptest.Certificate)
	}
	r.Cluster = apptest.NewCluster(t, nodes, func(i int, c *app.Config) {
		text, err := os.ReadFile(r.file(i))
		if err != nil {
			t.Fatal(err)
		}
		c.Projects[0].CertificateFile, c.Projects[0].Certificates = r.file(i), strings.Fields(string(text))
		c.Policy.CertificateSpread = rotationSpread
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

// hold starts calls, each with an RTC and an RTM token.
func (r *rotated) hold(calls int, ttl int64) {
	for i := range calls {
		r.holdOne(uint32(i+1), ttl)
	}
}

func (r *rotated) holdOne(uid uint32, ttl int64) {
	h := &heldCall{user: fmt.Sprint(uid)}
	r.held = append(r.held, h)
	var rtc, rtm *edge.Call
	c := client.New(client.Config{
		URL: "ws://" + apptest.BalancerAddress + "/v1/ws", HTTPClient: r.HTTPClient(),
		Credential: func(context.Context) (string, error) { return r.User, nil },
		RTC:        &client.RTC{Channel: "c", UID: uid, Publisher: true}, RTM: h.user, TTL: time.Duration(ttl) * time.Second,
		Apply: func(_ context.Context, b client.Tokens) error {
			h.mu.Lock()
			h.had = append(h.had, bundle{b, time.Now()})
			h.mu.Unlock()
			if b.Action == client.Renew {
				r.Renewals.Add(1)
				return errors.Join(rtc.Renew(b.RTC), rtm.Renew(b.RTM))
			}
			var first, second error
			rtc, first = r.Edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: h.user, Token: b.RTC})
			rtm, second = r.Edge.Join(edge.JoinRequest{Leg: edge.RTM, User: h.user, Token: b.RTM})
			return errors.Join(first, second)
		},
	})
	r.Calls.Go(func() {
		if err := c.Run(r.Ctx); !errors.Is(err, context.Canceled) {
			r.T.Errorf("call %s ended: %v", h.user, err)
		}
	})
}

// fewer returns a third of the number of calls in a short run, otherwise all.
func fewer(calls int) int {
	if testing.Short() {
		return calls / 3
	}
	return calls
}

// last returns the last bundle.
func (h *heldCall) last() bundle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.had[len(h.had)-1]
}

// signedBy reports whether both tokens of a bundle are signed with a certificate.
func (r *rotated) signedBy(certificate, user string, b bundle) bool {
	r.T.Helper()
	for text, channel := range map[string]string{b.RTC: "c", b.RTM: ""} {
		token, err := agora.Parse(text)
		if err != nil {
			r.T.Fatal(err)
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

// wantSigned expects the newest tokens of all calls to be signed with a certificate.
func (r *rotated) wantSigned(certificate string) {
	r.T.Helper()
	if n := r.signed(certificate); n != len(r.held) {
		r.T.Errorf("%d of %d calls have tokens under the certificate %s", n, len(r.held), agora.Fingerprint(certificate))
	}
}

// accept makes the simulated Agora edge accept only tokens of these certificates.
func (r *rotated) accept(primary, secondary string) {
	r.T.Helper()
	if err := r.Edge.SetCertificates(primary, secondary); err != nil {
		r.T.Fatal(err)
	}
}

// report returns a node's report about one certificate.
func (r *rotated) report(node int, certificate string) rotation.Certificate {
	r.T.Helper()
	var report rotation.Report
	r.Order(node, http.MethodGet, "/v1/certificates", "", &report)
	for _, c := range report.Certificates {
		if c.Fingerprint == agora.Fingerprint(certificate).String() {
			return c
		}
	}
	r.T.Fatalf("node %d says nothing of the certificate: %+v", node, report)
	return rotation.Certificate{}
}

// pushes returns the times at which a call was pushed tokens because of a rotation.
func (h *heldCall) pushes() (at []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.had {
		if b.Cause == "certificate" {
			at = append(at, b.at)
		}
	}
	return at
}

// The certificate changes on all nodes, and all calls are renewed within the spread; in one
// case a node is killed meanwhile. No call is interrupted, even when Agora no longer
// accepts the old certificate.
func TestRotationRenewsEveryCall(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newRotated(t, 3).roll(killed) })
		})
	}
}

func (r *rotated) roll(killed bool) {
	t := r.T
	calls := fewer(90)
	r.hold(calls, 3600)
	time.Sleep(time.Minute) // bubble
	r.accept(apptest.Certificate, apptest.NextCertificate)
	if c := r.report(0, apptest.Certificate); c.Sessions != calls || len(c.SignedBy) != 3 || c.MayBeDeleted {
		t.Errorf("before: %+v", c)
	}
	began := time.Now()
	for i := range r.Nodes {
		r.write(t, i, apptest.NextCertificate, apptest.Certificate)
	}
	time.Sleep(rotationSpread / 2) // bubble
	if killed {
		r.Replace(0)
		time.Sleep(5 * time.Second) // bubble: its calls come back
	}
	before := r.signed(apptest.NextCertificate)
	time.Sleep(1200 * time.Millisecond) // bubble; the store hears of a renewal within a second
	signed := r.signed(apptest.NextCertificate)
	for i := range r.Nodes {
		was, is := r.report(i, apptest.Certificate), r.report(i, apptest.NextCertificate)
		if is.Sessions < before || is.Sessions > signed || was.Sessions+is.Sessions != calls || signed == 0 || signed == calls {
			t.Errorf("by node %d, halfway: %d and %d sessions; %d to %d calls have new tokens", i, was.Sessions, is.Sessions, before, signed)
		}
		if len(was.SignedBy) != 0 || len(is.SignedBy) < 3 || was.MayBeDeleted || was.LastTokenEndsAt == 0 {
			t.Errorf("by node %d, halfway: %+v, %+v", i, was, is)
		}
	}
	time.Sleep(time.Until(began.Add(readWithin + rotationSpread + 5*time.Second))) // bubble
	r.wantSigned(apptest.NextCertificate)
	for i := range r.Nodes {
		was, is := r.report(i, apptest.Certificate), r.report(i, apptest.NextCertificate)
		if was.Sessions != 0 || is.Sessions != calls || was.MayBeDeleted || !strings.Contains(was.Why, "without a session") {
			t.Errorf("by node %d, at the end: %+v, %+v", i, was, is)
		}
	}
	if !killed {
		r.spread(began)
	}
	r.accept(apptest.NextCertificate, "")
	time.Sleep(65 * time.Minute) // bubble
	r.Verdict(calls)
}

// spread checks that each call was renewed once for the certificate, and not all at the
// same time.
func (r *rotated) spread(began time.Time) {
	var tenths [7]int
	for _, h := range r.held {
		at := h.pushes()
		if len(at) != 1 {
			r.T.Errorf("call %s was renewed %d times for the certificate", h.user, len(at))
			continue
		}
		if n := int(at[0].Sub(began) / (10 * time.Second)); n >= 0 && n < len(tenths) {
			tenths[n]++
		} else {
			r.T.Errorf("call %s: %v after the change", h.user, at[0].Sub(began))
		}
	}
	for i, n := range tenths {
		if n == 0 && i < 6 || n > len(r.held)/2 {
			r.T.Errorf("not spread: %v in each ten seconds", tenths)
		}
	}
	r.T.Logf("renewed in each ten seconds: %v", tenths)
}

// Nodes read the changed file minutes apart, and then the old certificate returns, or a
// third one. Nodes are killed and restarted meanwhile, so that sessions move between nodes
// with different certificates. No call is interrupted.
func TestNodesSeeTheCertificateMinutesApart(t *testing.T) {
	const third = "fedcba9876543210fedcba9876543210"
	for name, last := range map[string]string{"and stay": apptest.NextCertificate, "and go back": apptest.Certificate, "and go on": third} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRotated(t, 3)
				calls := fewer(60)
				for i := range r.Nodes { // the nodes share a secret, so each can open resume keys that another node sealed
					r.write(t, i, apptest.Certificate, apptest.NextCertificate, third)
				}
				time.Sleep(readWithin) // bubble
				r.hold(calls, 900)
				time.Sleep(time.Minute) // bubble
				r.accept(apptest.Certificate, apptest.NextCertificate)
				for i := range r.Nodes {
					r.write(t, i, apptest.NextCertificate, apptest.Certificate, third)
					time.Sleep(40 * time.Second) // bubble
					r.Deploy((i + 1) % 3)        // the node's calls also move to nodes with the other certificate
					time.Sleep(50 * time.Second) // bubble
					r.Replace((i + 2) % 3)
				}
				if last == third {
					time.Sleep(rotationSpread + 20*time.Second) // bubble
					r.wantSigned(apptest.NextCertificate)
					r.accept(third, apptest.NextCertificate)
				}
				if last != apptest.NextCertificate {
					for i := range r.Nodes {
						others := slices.DeleteFunc([]string{apptest.Certificate, apptest.NextCertificate, third}, func(c string) bool { return c == last })
						r.write(t, i, append([]string{last}, others...)...)
						time.Sleep(20 * time.Second) // bubble
						r.Replace((i + 1) % 3)
					}
				}
				time.Sleep(readWithin + rotationSpread + 15*time.Second) // bubble
				r.wantSigned(last)
				if c := r.report(0, last); c.Sessions != calls {
					t.Errorf("reported: %+v", c)
				}
				r.accept(last, "")
				time.Sleep(20 * time.Minute) // bubble
				r.Verdict(calls)
			})
		})
	}
}

// A client that is disconnected during a rotation gets tokens of the new certificate when
// it returns. Until then the report counts it under the old certificate.
func TestRotationWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotated(t, 2)
		l := r.Join(0, r.User, `"rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"},"ttl":600`)
		time.Sleep(time.Second) // bubble
		l.HangUp()
		for i := range r.Nodes {
			r.write(t, i, apptest.NextCertificate, apptest.Certificate)
		}
		time.Sleep(readWithin + rotationSpread) // bubble
		if c := r.report(1, apptest.Certificate); c.Sessions != 1 || c.Detached != 1 {
			t.Errorf("nobody is connected: %+v", c)
		}
		again := r.Open(r.Nodes[1].Address, l.ResumeMessage())
		joined := again.Joined()
		var b bundle
		b.RTC, b.RTM = joined.Tokens.RTC.Token, joined.Tokens.RTM.Token
		if !r.signedBy(apptest.NextCertificate, "1", b) {
			t.Error("a client that is back has tokens under the old certificate")
		}
		time.Sleep(10 * time.Second) // bubble: the tokens are pushed once more, and confirmed
		if c := r.report(0, apptest.Certificate); c.Sessions != 0 {
			t.Errorf("back, and confirmed: %+v", c)
		}
	})
}

// An invalid certificate file changes nothing, and a file that changes back and forth
// renews no call more than once in ten seconds.
func TestCertificateFileThatIsNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotated(t, 1)
		const calls = 60
		r.hold(calls, 3600)
		time.Sleep(time.Minute) // bubble
		r.accept(apptest.Certificate, apptest.NextCertificate)
		for _, broken := range [][]string{
			{}, {"no certificate"}, {apptest.NextCertificate, apptest.NextCertificate}, {apptest.NextCertificate, apptest.Certificate, apptest.NextCertificate}, {`"` + apptest.NextCertificate + `"`},
		} {
			r.write(t, 0, broken...)
			time.Sleep(2 * rotationSpread) // bubble
			r.wantSigned(apptest.Certificate)
		}
		for i := range 1200 { // two minutes
			r.write(t, 0, []string{apptest.NextCertificate, apptest.Certificate}[i%2], []string{apptest.Certificate, apptest.NextCertificate}[i%2])
			r.Nodes[0].Reloads <- os.Interrupt
			time.Sleep(100 * time.Millisecond) // bubble
		}
		pushes := 0
		for _, h := range r.held {
			at := h.pushes()
			pushes += len(at)
			for i := 1; i < len(at); i++ {
				if between := at[i].Sub(at[i-1]); between < 10*time.Second {
					t.Errorf("call %s was renewed again after %s", h.user, between)
				}
			}
		}
		if most := calls * int(2*time.Minute/rotationSpread); pushes > most {
			t.Errorf("%d pushes in two minutes, of %d calls", pushes, calls)
		}
		r.write(t, 0, apptest.NextCertificate)
		time.Sleep(readWithin + rotationSpread + 10*time.Second) // bubble
		r.wantSigned(apptest.NextCertificate)
		r.Verdict(calls)
	})
}

// The report does not contain a certificate itself. Without the store there is no report.
func TestCertificatesReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		time.Sleep(time.Second) // bubble
		if answer, text := s.Ask(0, s.Admin, http.MethodGet, "/v1/certificates", ""); answer.StatusCode != http.StatusOK || strings.Contains(text, apptest.Certificate) {
			t.Errorf("%d %s", answer.StatusCode, text)
		}
		s.Away.Store(true)
		if answer, _ := s.Ask(0, s.Admin, http.MethodGet, "/v1/certificates", ""); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("without the store: %d", answer.StatusCode)
		}
		s.Away.Store(false)
	})
}
