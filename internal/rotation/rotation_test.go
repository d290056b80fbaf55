package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	certA  session.Fingerprint = 0xA
	certB  session.Fingerprint = 0xB
	maxTTL                     = 4 * time.Hour
)

// shared is a store that a test can break.
type shared struct {
	*store.Memory
	list func(ctx context.Context) error // if not nil, called before each listing
	away atomic.Bool                     // if true, the nodes' statuses cannot be read
}

func withStore(t *testing.T, test func(t *testing.T, s *shared)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, &shared{Memory: store.NewMemory(time.Now)}) })
}

func (s *shared) Statuses(ctx context.Context, topic string) (map[string]string, error) {
	if s.away.Load() {
		return nil, errors.New("away")
	}
	return s.Memory.Statuses(ctx, topic)
}

func (s *shared) IDs(ctx context.Context, shard int) ([]string, error) {
	if s.list != nil {
		if err := s.list(ctx); err != nil {
			return nil, err
		}
	}
	return s.Memory.IDs(ctx, shard)
}

type node struct {
	*Tracker
	stop         context.CancelFunc
	certificates []session.Fingerprint
}

func start(t *testing.T, s *shared, name string, certificates ...session.Fingerprint) *node {
	t.Helper()
	return startFor(t, s, "app", maxTTL, name, certificates...)
}

func startFor(t *testing.T, s *shared, app string, longest time.Duration, name string, certificates ...session.Fingerprint) *node {
	t.Helper()
	n := &node{certificates: certificates}
	n.Tracker = New(Config{
		Store: s, Node: name, MaxTTL: longest, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Projects: func() map[string][]session.Fingerprint { return map[string][]session.Fingerprint{app: n.certificates} },
	})
	ctx, cancel := context.WithCancel(t.Context())
	n.stop = cancel
	var parts sync.WaitGroup
	parts.Go(func() { n.Run(ctx) })
	parts.Go(func() {
		for ctx.Err() == nil {
			sweep(t, s, name)
			select {
			case <-time.After(store.SweepEvery):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(parts.Wait)
	synctest.Wait()
	return n
}

func sweep(t *testing.T, s *shared, node string) {
	t.Helper()
	if _, err := s.Sweep(t.Context(), node, store.Renew); err != nil {
		t.Error(err)
	}
}

func (n *node) sign(certificates ...session.Fingerprint) {
	n.certificates = certificates
	n.Changed()
	synctest.Wait()
}

func hold(t *testing.T, s *shared, id string, f session.Fingerprint, ttl time.Duration, change func(*store.Record)) {
	t.Helper()
	now := time.Now()
	r := store.Record{Node: "a", Due: session.MilliOf(now.Add(ttl))}
	r.ResumeClaims = session.ResumeClaims{Session: id, App: "app", Epoch: 1, Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Terms: session.Terms{TTL: ttl, Until: session.SecOf(now.Add(24 * time.Hour))}}
	r.Seq, r.HeldSeq, r.ExpiresAt, r.HeldExpiresAt, r.Certificate = 1, 1, session.SecOf(now.Add(ttl)), session.SecOf(now.Add(ttl)), f
	if change != nil {
		change(&r)
	}
	if _, err := s.Save(t.Context(), []store.Record{r}); err != nil {
		t.Fatal(err)
	}
}

func (n *node) want(t *testing.T, f string, mayBeDeleted bool, why string) Certificate {
	t.Helper()
	r, err := n.Report(t.Context(), "app")
	i := slices.IndexFunc(r.Certificates, func(c Certificate) bool { return c.Fingerprint == f })
	if err != nil || i < 0 {
		t.Fatalf("of %s: %+v, %v", f, r, err)
	}
	c := r.Certificates[i]
	if c.MayBeDeleted != mayBeDeleted || !strings.Contains(c.Why, why) {
		t.Errorf("of %s: may be deleted %v, %q; want %v, %q", f, c.MayBeDeleted, c.Why, mayBeDeleted, why)
	}
	return c
}

func TestReportOfARotation(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a, b := start(t, s, "a", certA), start(t, s, "b", certA)
		hold(t, s, "1", certA, time.Hour, nil)
		hold(t, s, "2", certA, 2*time.Hour, func(r *store.Record) { r.State = session.Detached })
		hold(t, s, "other project's", certA, 3*time.Hour, func(r *store.Record) { r.App = "another" })
		begin := session.SecOf(time.Now())
		c := a.want(t, "0000000a", false, "2 of the nodes sign with it")
		want := Certificate{
			Fingerprint: "0000000a", SignedBy: []string{"a", "b"}, Sessions: 2, Detached: 1,
			LastTokenEndsAt: begin.Add(2 * time.Hour), Why: c.Why,
		}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Error(diff)
		}

		a.sign(certB, certA)
		if c := b.want(t, "0000000a", false, "1 of the nodes sign with it"); !slices.Equal(c.SignedBy, []string{"b"}) {
			t.Errorf("signed by %q", c.SignedBy)
		}
		time.Sleep(time.Minute) // bubble
		b.sign(certB, certA)
		switched := session.SecOf(time.Now())
		hold(t, s, "1", certB, time.Hour, nil)
		c = b.want(t, "0000000a", false, "1 sessions hold tokens of it, the last until "+begin.Add(2*time.Hour).Time().UTC().Format(time.RFC3339))
		if want := switched.Add(maxTTL + refreshEvery); c.ClassicEndsAt != want {
			t.Errorf("classic tokens end at %d, want %d", c.ClassicEndsAt, want)
		}
		time.Sleep(2 * time.Hour) // bubble
		a.want(t, "0000000a", false, "handed out without a session may be signed with it until "+c.ClassicEndsAt.Time().UTC().Format(time.RFC3339))
		time.Sleep(time.Until(c.ClassicEndsAt.Time())) // bubble
		a.want(t, "0000000a", true, "no session holds tokens of it")
	})
}

// TestRollingRestart: nodes that start with the new certificate read from the old nodes' statuses
// when the old certificate was last used, and remember this time after the old nodes have stopped.
func TestRollingRestart(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		old := start(t, s, "old", certA)
		first := start(t, s, "first", certB)
		time.Sleep(2 * time.Hour) // bubble
		old.stop()
		stopped := session.SecOf(time.Now())
		time.Sleep(time.Minute) // bubble
		second := start(t, s, "second", certB)
		time.Sleep(time.Minute) // bubble
		first.stop()
		time.Sleep(time.Minute) // bubble
		c := second.want(t, "0000000a", false, "handed out without a session")
		if end := c.ClassicEndsAt.Sub(stopped); end < maxTTL || end > maxTTL+2*refreshEvery+store.Lease {
			t.Errorf("classic tokens end %s after the last node with the certificate", end)
		}
	})
}

// TestTokensOfNodesWithALongerMaxTTL: the report uses the MaxTTL of the node that minted the
// tokens, since a new configuration can change MaxTTL together with the certificate.
func TestTokensOfNodesWithALongerMaxTTL(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		old := startFor(t, s, "app", 2*maxTTL, "old", certA)
		a := start(t, s, "a", certB, certA)
		time.Sleep(time.Minute) // bubble
		old.stop()
		stopped := time.Now()
		time.Sleep(maxTTL + time.Hour) // bubble
		if c := a.want(t, "0000000a", false, "handed out without a session"); c.ClassicEndsAt < session.SecOf(stopped.Add(2*maxTTL-refreshEvery)) {
			t.Errorf("classic tokens end at %d", c.ClassicEndsAt)
		}
		time.Sleep(maxTTL) // bubble
		a.want(t, "0000000a", true, "")
	})
}

// TestOnlyNodesOfTheProjectFollowIt: a node that does not serve a project records nothing
// about the project's certificates, however long the node has run.
func TestOnlyNodesOfTheProjectFollowIt(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		startFor(t, s, "another", maxTTL, "other", certA)
		time.Sleep(2 * maxTTL) // bubble
		a := start(t, s, "a", certB, certA)
		if c := a.want(t, "0000000a", false, "handed out without a session"); c.ClassicEndsAt < session.SecOf(time.Now().Add(maxTTL)) {
			t.Errorf("classic tokens end at %d", c.ClassicEndsAt)
		}
	})
}

func TestWhyNot(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a", certB, certA)
		time.Sleep(maxTTL + time.Minute) // bubble
		a.want(t, "0000000a", true, "")
		hold(t, s, "1", 0, time.Hour, nil)
		a.want(t, "0000000a", false, "1 sessions hold tokens of a certificate that is not known")
		if c := a.want(t, "unknown", false, "confirm"); c.Sessions != 1 {
			t.Errorf("%+v", c)
		}
		time.Sleep(2 * time.Hour) // bubble
		if err := s.SetStatus(t.Context(), "garbage", topic, `{"started":"x"`); err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"mute", "garbage"} {
			a.want(t, "0000000a", true, "")
			sweep(t, s, node)
			a.want(t, "0000000a", false, "have not said yet which certificate they sign with: "+node)
			time.Sleep(time.Minute) // bubble
		}
	})
}

// TestCountIsCutOff: after a partial count no certificate may be deleted, and the result
// of a slow count is reused for a while.
func TestCountIsCutOff(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a", certB, certA)
		time.Sleep(maxTTL + time.Minute) // bubble
		lists := 0
		s.list = func(ctx context.Context) error {
			lists++
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		a.want(t, "0000000a", false, "no time to count all sessions")
		a.want(t, "0000000a", false, "no time to count all sessions")
		if took := time.Since(began); took != countFor || lists != 1 {
			t.Errorf("counted %d times in %s", lists, took)
		}
		s.list = func(context.Context) error { return errors.New("away") }
		time.Sleep(countShare * countFor) // bubble
		if _, err := a.Report(t.Context(), "app"); err == nil {
			t.Error("a report without the store")
		}
	})
}

func TestWhatWasSeenIsForgotten(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a", 1)
		for f := range session.Fingerprint(50) {
			a.sign(f + 2)
			time.Sleep(time.Hour) // bubble
		}
		if n := len(a.status.Projects["app"].Until); n < 28 || n > 30 {
			t.Errorf("%d certificates are remembered", n)
		}
	})
}

func TestChangeWhileTheStoreIsAway(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a, b := start(t, s, "a", certB, certA), start(t, s, "b", certB, certA)
		time.Sleep(maxTTL + time.Minute) // bubble
		a.want(t, "0000000a", true, "")
		s.away.Store(true)
		b.sign(certA, certB)
		time.Sleep(time.Minute) // bubble
		if _, err := a.Report(t.Context(), "app"); err == nil {
			t.Error("a report without the store")
		}
		s.away.Store(false)
		time.Sleep(retryEvery) // bubble
		synctest.Wait()
		a.want(t, "0000000a", false, "1 of the nodes sign with it")
	})
}

func TestSigns(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a", certA, certB)
		for _, f := range []session.Fingerprint{certA, certB} {
			a.sign(f)
			want := fmt.Sprintf("# HELP refresher_certificate_signs 1 for each App Certificate with which this node signs tokens, by fingerprint.\n# TYPE refresher_certificate_signs gauge\nrefresher_certificate_signs{fingerprint=%q} 1\n", f)
			if err := testutil.CollectAndCompare(a, strings.NewReader(want)); err != nil {
				t.Error(err)
			}
		}
	})
}
