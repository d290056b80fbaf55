package scheduler

import (
	"fmt"
	"strings"
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
	changed     atomic.Int64
	read        atomic.Int64
}

// configure makes a node sign its tokens with the test's certificate.
func (c *certificate) configure(config *settings, spread time.Duration) {
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

// change changes the certificate to f and informs the node.
func (c *certificate) change(f session.Fingerprint, node *Scheduler) {
	c.fingerprint.Store(uint32(f))
	c.changed.Store(time.Now().UnixNano())
	node.CertificateChanged("app")
}

// since returns the time since the certificate was last changed.
func (c *certificate) since() time.Duration { return time.Since(time.Unix(0, c.changed.Load())) }

// rotations returns the times of the pushes that the client got because the certificate changed.
func (r record) rotations() (at []time.Time) {
	for i, push := range r.pushes {
		if push.Cause == session.CauseCertificate {
			at = append(at, r.at[i])
		}
	}
	return at
}

// Each connected session is renewed once within the spread. A detached session is renewed when its
// client returns.
func TestRotationRenewsConnectedSessionsWithinTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, spread = 100, 5 * time.Minute
		c, signs := testConfig(t), &certificate{}
		signs.configure(&c, spread)
		s := start(t, c)
		wantCounted := func(certificates ...string) {
			t.Helper()
			text := "# HELP refresher_sessions_by_certificate Sessions of this node by the fingerprint of the App Certificate that signed their tokens; unknown if the node does not know.\n" +
				"# TYPE refresher_sessions_by_certificate gauge\n"
			for _, line := range certificates {
				text += "refresher_sessions_by_certificate{fingerprint=" + line + "\n"
			}
			if err := testutil.CollectAndCompare(s.metrics.outlook, strings.NewReader(text), "refresher_sessions_by_certificate"); err != nil {
				t.Error(err)
			}
		}
		clients := joinedMany(t, s, sessions, 2*time.Hour)
		gone := joinedDetached(t, s, 2*time.Hour)
		wait(time.Minute)
		wantCounted(fmt.Sprintf(`"00000001"} %d`, sessions+1))
		signs.change(2, s)
		wait(spread + time.Second)
		for _, p := range clients {
			require(t, len(p.got().rotations()) == 1 && p.newest().Tokens.Certificate == 2, "pushed %+v", p.got().pushes)
		}
		wantCounted(`"00000001"} 1`, fmt.Sprintf(`"00000002"} %d`, sessions))
		equal(t, "pushes to a client that is not connected", len(gone.got().pushes), 0)
		back := gone.comesBack()
		back.ack(back.newest().Seq)
		wantCounted(fmt.Sprintf(`"00000002"} %d`, sessions+1))
	})
}

// If the certificate changes more than ten times a second for a minute, the sessions are scanned
// once a second, and no session is renewed more than once in ten seconds. At the end all sessions
// have tokens of the last certificate.
func TestACertificateThatGoesBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, spread, flips = 1000, 100, 645
		c, signs := testConfig(t), &certificate{}
		signs.configure(&c, spread*time.Second)
		s := start(t, c)
		clients := joinedMany(t, s, sessions, 2*time.Hour)
		wait(time.Minute)
		read := signs.read.Load()
		for i := range flips {
			signs.change(session.Fingerprint(2-i%2), s)
			// 93 ms is no divisor of rotateEvery, so that changes come at any time between two
			// scans
			pass(93 * time.Millisecond)
		}
		synctest.Wait()
		pushes := 0
		for _, p := range clients {
			at := p.got().rotations()
			pushes += len(at)
			for i := 1; i < len(at); i++ {
				require(t, at[i].Sub(at[i-1]) >= changeApart, "renewed again after %s", at[i].Sub(at[i-1]))
			}
		}
		check(t, pushes <= sessions*60/spread, "%d pushes in a minute, more than those of one rotation", pushes)
		// A scan reads the certificate once for each session, and a change reads it once. A push reads it
		// about twice; the test allows four reads for each push.
		scans := (signs.read.Load() - read - flips - int64(4*pushes)) / sessions
		check(t, scans <= 62, "%d scans of all sessions in a minute", scans)
		wait((spread + 10) * time.Second)
		for _, p := range clients {
			require(t, p.newest().Tokens.Certificate == 2, "has tokens of certificate %s", p.newest().Tokens.Certificate)
		}
	})
}
