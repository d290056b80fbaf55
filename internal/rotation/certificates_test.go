//go:build !race

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

const rotationSpread = time.Minute

// readWithin is longer than a node takes to read a changed file.
const readWithin = 6 * time.Second

const third = "fedcba9876543210fedcba9876543210"

// rotated is a service whose nodes read their certificates from files, with some calls.
type rotated struct {
	*apptest.Cluster
	dir   string
	calls []*call
}

// call is a call with the bundles that it received.
type call struct {
	user string
	mu   sync.Mutex
	had  []bundle // guarded by mu
}

type bundle struct {
	client.Tokens
	at time.Time
}

func newRotated(t *testing.T, nodes int) *rotated {
	t.Helper()
	r := &rotated{dir: t.TempDir()}
	r.Cluster = apptest.NewCluster(t, nodes, func(i int, c *app.Config) {
		text, err := os.ReadFile(r.file(i))
		if err != nil { // the node starts for the first time, so it has no certificate file yet
			r.write(t, i, apptest.Certificate)
			text = []byte(apptest.Certificate)
		}
		c.Projects[0].CertificateFile, c.Projects[0].Certificates = r.file(i), strings.Fields(string(text))
		c.Policy.CertificateSpread = rotationSpread
	})
	return r
}

func (r *rotated) file(node int) string { return filepath.Join(r.dir, fmt.Sprintf("node%d", node)) }

func (r *rotated) write(t *testing.T, node int, certificates ...string) {
	t.Helper()
	if err := os.WriteFile(r.file(node), []byte(strings.Join(certificates, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *rotated) start(calls int, ttl time.Duration) {
	for i := range calls {
		r.startOne(uint32(i+1), ttl)
	}
}

func (r *rotated) startOne(uid uint32, ttl time.Duration) {
	h := &call{user: fmt.Sprint(uid)}
	r.calls = append(r.calls, h)
	var rtc, rtm *edge.Call
	c := client.New(client.Config{
		URL: "ws://" + apptest.BalancerAddress + "/v1/ws", HTTPClient: r.HTTPClient(),
		Credential: func(context.Context) (string, error) { return r.User, nil },
		RTC:        &client.RTC{Channel: "c", UID: uid, Publisher: true}, RTM: h.user, TTL: ttl,
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

func (r *rotated) wantSigned(certificate string) {
	r.T.Helper()
	n := 0
	for _, h := range r.calls {
		h.mu.Lock()
		newest := h.had[len(h.had)-1]
		h.mu.Unlock()
		if r.signedBy(certificate, h.user, "c", newest.RTC) && r.signedBy(certificate, h.user, "", newest.RTM) {
			n++
		}
	}
	if n != len(r.calls) {
		r.T.Errorf("%d of %d calls have tokens under the certificate %s", n, len(r.calls), agora.Fingerprint(certificate))
	}
}

func (r *rotated) signedBy(certificate, user, channel, text string) bool {
	r.T.Helper()
	token, err := agora.Parse(text)
	return err == nil && token.Verify(certificate, agora.Holder{Channel: channel, User: user}) == nil
}

func (r *rotated) accept(primary, secondary string) {
	r.T.Helper()
	if err := r.Edge.SetCertificates(primary, secondary); err != nil {
		r.T.Fatal(err)
	}
}

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

func (h *call) pushes() (at []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.had {
		if b.Cause == "certificate" {
			at = append(at, b.at)
		}
	}
	return at
}

// The certificate changes on all nodes. Because of the change, each call is renewed once within the
// time rotationSpread, and not all at the same time. No call is interrupted, even when Agora no
// longer accepts the old certificate.
func TestRotationRenewsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 30
		r := newRotated(t, 3)
		r.start(calls, time.Hour)
		time.Sleep(time.Minute) // bubble
		r.accept(apptest.Certificate, apptest.NextCertificate)
		if c := r.report(0, apptest.Certificate); c.Sessions != calls || len(c.SignedBy) != 3 || c.MayBeDeleted {
			t.Errorf("before: %+v", c)
		}
		began := time.Now()
		for i := range r.Nodes {
			r.write(t, i, apptest.NextCertificate, apptest.Certificate)
		}
		time.Sleep(readWithin + rotationSpread + 5*time.Second) // bubble
		r.wantSigned(apptest.NextCertificate)
		for i := range r.Nodes {
			was, is := r.report(i, apptest.Certificate), r.report(i, apptest.NextCertificate)
			if was.Sessions != 0 || is.Sessions != calls || was.MayBeDeleted || len(was.SignedBy) != 0 || len(is.SignedBy) != 3 {
				t.Errorf("by node %d, at the end: %+v, %+v", i, was, is)
			}
		}
		var thirds [4]int
		for _, h := range r.calls {
			at := h.pushes()
			if len(at) != 1 {
				t.Fatalf("call %s was renewed %d times for the certificate", h.user, len(at))
			}
			thirds[at[0].Sub(began)/(rotationSpread/3)]++
		}
		if thirds[0] == 0 || thirds[1] == 0 || thirds[2] == 0 {
			t.Errorf("not spread: %v in each third", thirds)
		}
		r.accept(apptest.NextCertificate, "")
		time.Sleep(65 * time.Minute) // bubble
		r.Verdict(calls)
	})
}

// Nodes read their changed certificate files minutes apart, and later the files get the old
// certificate again, or a third one. Nodes are killed and restarted meanwhile, so that sessions
// move between nodes with different certificates. No call is interrupted.
func TestNodesSeeTheCertificateMinutesApart(t *testing.T) {
	for _, last := range []string{apptest.Certificate, third} {
		synctest.Test(t, func(t *testing.T) {
			const calls = 20
			r := newRotated(t, 3)
			writeAll := func(i int, first string) { // each node gets all three certificates, so that it can open the resume keys of the other nodes
				others := strings.Replace(apptest.Certificate+" "+apptest.NextCertificate+" "+third, first, "", 1)
				r.write(t, i, append([]string{first}, strings.Fields(others)...)...)
			}
			for i := range r.Nodes {
				writeAll(i, apptest.Certificate)
			}
			time.Sleep(readWithin) // bubble
			r.start(calls, 15*time.Minute)
			time.Sleep(time.Minute) // bubble
			r.accept(apptest.Certificate, apptest.NextCertificate)
			for i := range r.Nodes {
				writeAll(i, apptest.NextCertificate)
				time.Sleep(40 * time.Second) // bubble
				r.Deploy((i + 1) % 3)        // the calls of the stopped node move to nodes that may have the other certificate
				time.Sleep(50 * time.Second) // bubble
				r.Replace((i + 2) % 3)
			}
			time.Sleep(rotationSpread + 20*time.Second) // bubble
			r.wantSigned(apptest.NextCertificate)
			r.accept(last, apptest.NextCertificate)
			for i := range r.Nodes {
				writeAll(i, last)
				time.Sleep(20 * time.Second) // bubble
				r.Replace((i + 1) % 3)
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
	}
}

// A client that is disconnected during a rotation gets tokens of the new certificate when
// it returns. Until then the report counts it under the old certificate. Without the store
// there is no report.
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
		joined := r.Open(r.Nodes[1].Address, l.ResumeMessage()).Joined()
		if !r.signedBy(apptest.NextCertificate, "1", "c", joined.Tokens.RTC.Token) {
			t.Error("a client that is back has tokens under the old certificate")
		}
		time.Sleep(10 * time.Second) // bubble: in this time the node pushes the tokens once more, and the client confirms them
		if c := r.report(0, apptest.Certificate); c.Sessions != 0 {
			t.Errorf("back, and confirmed: %+v", c)
		}
		r.Away.Store(true)
		if answer, _ := r.Ask(0, r.Admin, http.MethodGet, "/v1/certificates", ""); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("without the store: %d", answer.StatusCode)
		}
	})
}

func TestCertificateFileThatIsNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotated(t, 1)
		const calls = 20
		r.start(calls, time.Hour)
		time.Sleep(time.Minute) // bubble
		r.accept(apptest.Certificate, apptest.NextCertificate)
		for _, broken := range [][]string{{}, {"no certificate"}, {apptest.NextCertificate, apptest.NextCertificate}} {
			r.write(t, 0, broken...)
			time.Sleep(2 * rotationSpread) // bubble
			r.wantSigned(apptest.Certificate)
		}
		both := []string{apptest.NextCertificate, apptest.Certificate}
		for i := range 1200 { // two minutes
			r.write(t, 0, both[i%2], both[1-i%2])
			r.Nodes[0].Reloads <- os.Interrupt
			time.Sleep(100 * time.Millisecond) // bubble
		}
		pushes := 0
		for _, h := range r.calls {
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
