package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
)

// certificate holds the certificate with which all nodes of the test sign.
type certificate struct {
	fingerprint atomic.Uint32
	changed     atomic.Int64 // when the certificate was changed, in Unix nanoseconds
	read        atomic.Int64 // how often the node read the certificate
}

// in configures a node to sign with the test's certificate.
func (c *certificate) in(config *settings, spread time.Duration) {
	c.fingerprint.CompareAndSwap(0, 1)
	config.Minter, config.Certificate, config.Policy.CertificateSpread = c, c.name, spread
}

func (c *certificate) name(string) session.Fingerprint {
	c.read.Add(1)
	return session.Fingerprint(c.fingerprint.Load())
}

func (c *certificate) Mint(_ string, _ session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: "token", ExpiresAt: expiresAt, Certificate: session.Fingerprint(c.fingerprint.Load())}, nil
}

// change changes the certificate to f and informs the nodes.
func (c *certificate) change(f session.Fingerprint, nodes ...*Scheduler) {
	c.fingerprint.Store(uint32(f))
	c.changed.Store(time.Now().UnixNano())
	for _, node := range nodes {
		node.CertificateChanged("app")
	}
}

// since returns the time since the certificate was last changed.
func (c *certificate) since() time.Duration { return time.Since(time.Unix(0, c.changed.Load())) }

// holds returns the fingerprint of the certificate that signed the client's newest tokens.
func (r record) holds() session.Fingerprint {
	if n := len(r.pushes); n > 0 {
		return r.pushes[n-1].Tokens.Certificate
	}
	return r.joined.Tokens.Certificate
}

// rotations returns the times of the pushes that the client got because the certificate changed.
func (r record) rotations() (at []time.Time) {
	for i, push := range r.pushes {
		if push.Cause == session.CauseCertificate {
			at = append(at, r.at[i])
		}
	}
	return at
}

// Each of 30,000 connected sessions is renewed once, with at most twice the average number of
// renewals in any second. A detached session is renewed when its client returns.
func TestRotationRenewsConnectedSessionsWithinTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, spread = 30_000, 300
		c, signs := testConfig(t), &certificate{}
		signs.in(&c, spread*time.Second)
		s := start(t, c)
		clients := joinedMany(t, s, sessions, 2*time.Hour)
		away := joined(t, s, 2*time.Hour)
		away.current().Detach()
		wait(time.Minute)
		equal(t, "certificates before the change", testutil.CollectAndCount(s.metrics.outlook, "refresher_sessions_by_certificate"), 1)
		signs.change(2, s)
		began := time.Now()
		wait((spread + 1) * time.Second)
		var seconds [spread + 1]int
		for _, p := range clients {
			got := p.got()
			at := got.rotations()
			require(t, len(at) == 1 && got.holds() == 2, "pushed %d times for the certificate, holds %s", len(at), got.holds())
			seconds[at[0].Sub(began)/time.Second]++
		}
		if most := slices.Max(seconds[:]); most > 2*sessions/spread {
			t.Errorf("%d pushes in a second; twice the share is %d", most, 2*sessions/spread)
		} else {
			t.Logf("at most %d pushes in a second, of %d sessions over %d s", most, sessions, spread)
		}
		counted := strings.NewReader(fmt.Sprintf(`
# HELP refresher_sessions_by_certificate Sessions of this node by the fingerprint of the App Certificate that has signed the tokens they hold; unknown where the node cannot tell.
# TYPE refresher_sessions_by_certificate gauge
refresher_sessions_by_certificate{fingerprint="00000001"} 1
refresher_sessions_by_certificate{fingerprint="00000002"} %d
`, sessions))
		if err := testutil.CollectAndCompare(s.metrics.outlook, counted, "refresher_sessions_by_certificate"); err != nil {
			t.Error(err)
		}
		check(t, len(away.got().pushes) == 0, "a client that is away was pushed %+v", away.got().pushes)
		back := away.comesBack()
		check(t, back.got().holds() == 2, "a client that is back holds %s", back.got().holds())
		back.ack(back.got().joined.Seq)
		equal(t, "certificates at the end", testutil.CollectAndCount(s.metrics.outlook, "refresher_sessions_by_certificate"), 1)
	})
}

// If the certificate changes more than ten times a second for a minute, the sessions are scanned
// once a second, and no session is renewed more than once in ten seconds. At the end all sessions
// have tokens of the last certificate.
func TestACertificateThatGoesBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, spread = 1000, 100
		c, signs := testConfig(t), &certificate{}
		signs.in(&c, spread*time.Second)
		s := start(t, c)
		clients := joinedMany(t, s, sessions, 2*time.Hour)
		wait(time.Minute)
		read, flips := signs.read.Load(), 645
		for i := range flips {
			signs.change(session.Fingerprint(2-i%2), s)
			// 93 ms is no divisor of rotateEvery, so that changes come at any time between two
			// scans
			pass(93 * time.Millisecond)
		}
		synctest.Wait()
		pushes, perSecond := 0, make(map[int64]int)
		for _, p := range clients {
			got := p.got()
			at := got.rotations()
			for i := range at {
				pushes++
				perSecond[at[i].Unix()]++
				require(t, i == 0 || at[i].Sub(at[i-1]) >= 10*time.Second, "renewed again within 10 s")
			}
		}
		for second, n := range perSecond {
			// allows more than twice the average, since there are few sessions
			check(t, n <= 3*sessions/spread, "%d pushes in second %d", n, second)
		}
		most := sessions * 60 / spread
		check(t, pushes <= most, "%d pushes in a minute; %d would be those of one rotation", pushes, most)
		// A scan reads the certificate once for each session, a push reads it about twice, and a
		// change once.
		if looks := (signs.read.Load() - read - int64(flips) - int64(4*pushes)) / sessions; looks > 62 {
			t.Errorf("looked at all sessions %d times in a minute", looks)
		} else {
			t.Logf("%d flips: %d pushes, %d looks at all sessions", flips, pushes, looks)
		}
		wait((spread + 10) * time.Second)
		last := signs.name("app")
		for _, p := range clients {
			require(t, p.got().holds() == last, "holds %s, %s signs", p.got().holds(), last)
		}
	})
}

// Sessions move between nodes that sign with different certificates, and the certificate changes
// again meanwhile. No client's tokens expire, and at the end the last certificate has signed all
// tokens.
func TestNodesThatSeeTheCertificateMinutesApart(t *testing.T) {
	for name, changes := range map[string][]session.Fingerprint{
		"one": {2}, "and back": {2, 1}, "and on": {2, 3}, "back and on": {2, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const spread = 5 * time.Minute
				c := newCluster(t)
				var nodes []*member
				var signs []*certificate
				for i := range 3 {
					cert := &certificate{}
					signs = append(signs, cert)
					nodes = append(nodes, c.startWith(fmt.Sprint("node", i), func(config *settings, _ *link) { cert.in(config, spread) }))
				}
				random := rand.New(rand.NewPCG(1, uint64(len(name))))
				clients := make([]*fakeClient, 60)
				for i := range clients {
					clients[i] = &fakeClient{t: t, scheduler: nodes[i%3].Scheduler}
					clients[i].join(time.Duration(120+random.IntN(3600)) * time.Second)
				}
				wait(time.Minute)
				var changing sync.WaitGroup
				for i := range nodes {
					changing.Go(func() {
						for _, f := range changes {
							pass(time.Duration(i*90+1) * time.Second)
							signs[i].change(f, nodes[i].Scheduler)
							pass(time.Duration((3-i)*60) * time.Second)
						}
					})
				}
				for range 300 {
					pass(3 * time.Second)
					i := random.IntN(len(clients))
					p := clients[i]
					if random.IntN(2) == 0 {
						p.current().Detach()
						pass(time.Duration(random.IntN(5000)) * time.Millisecond)
					}
					next := p.again()
					next.scheduler = nodes[random.IntN(3)].Scheduler
					must(t, next.resume(p))
					check(t, !next.got().joined.Rejoin, "tokens ran out")
					next.ack(next.got().joined.Seq)
					clients[i] = next
				}
				changing.Wait()
				wait(spread + time.Minute)
				last := changes[len(changes)-1]
				for _, p := range clients {
					got := p.got()
					if got.holds() != last || got.lost || got.ended != nil {
						t.Errorf("holds %s, %s signs; lost %v, ended %v", got.holds(), last, got.lost, got.ended)
					}
					for _, push := range got.pushes {
						check(t, !push.Rejoin, "tokens ran out")
					}
				}
				for _, node := range nodes {
					equal(t, "clients whose tokens ran out", testutil.ToFloat64(node.metrics.tokensExpired["attached"])+testutil.ToFloat64(node.metrics.tokensExpired["detached"]), 0)
				}
			})
		})
	}
}

// During a rotation, one approval is requested for each session, and a session that is denied ends.
func TestRotationNeedsApproval(t *testing.T) {
	for _, agrees := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b, c, signs := &backEnd{agrees: true}, testConfig(t), &certificate{}
			signs.in(&c, 5*time.Minute)
			c.Approve, c.Policy.ApprovalAhead = b.approve, 15*time.Second
			s := start(t, c)
			clients := joinedMany(t, s, 50, 2*time.Hour)
			wait(time.Minute)
			b.set(agrees, nil)
			signs.change(2, s)
			wait(5*time.Minute + time.Second)
			if asked, _ := b.questions(); len(asked) != 2*len(clients) {
				t.Errorf("asked %d times about joins and the rotation of %d sessions", len(asked), len(clients))
			}
			for _, p := range clients {
				got := p.got()
				denied := got.ended != nil && got.ended.Reason == session.EndDenied
				if denied == agrees || agrees && (len(got.rotations()) != 1 || got.holds() != 2) {
					t.Fatalf("agrees %v: ended %+v, pushed %d times", agrees, got.ended, len(got.rotations()))
				}
			}
		})
	}
}

// A session near the end of its terms also gets tokens of the new certificate. They have the same
// expiry as its last tokens.
func TestRotationReachesTheLastTokensToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, signs := testConfig(t), &certificate{}
		signs.in(&c, time.Second)
		s := start(t, c)
		p := &fakeClient{t: t, scheduler: s}
		caller := anybody
		caller.Grant.Until = session.SecOf(time.Now().Add(5 * time.Minute))
		a, err := s.Join(context.Background(), session.Join{Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, TTL: time.Hour, Caller: caller}, p)
		must(t, err)
		p.hold(a)
		wait(time.Minute)
		signs.change(2, s)
		wait(2 * time.Second)
		if got := p.got(); len(got.pushes) != 1 || got.holds() != 2 || got.pushes[0].Tokens.ExpiresAt != caller.Grant.Until {
			t.Errorf("pushed %+v", got.pushes)
		}
	})
}
