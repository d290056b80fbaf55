package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// wait lets simulated time pass, and then everything settle.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// byKid are credentials signed by a key under an id, good for days.
func byKid(kid string) string {
	c := claimsWith(map[string]any{"exp": time.Now().Add(1000 * time.Hour).Unix()})
	if kid == "other" {
		return sign("ES256", kid, ecOther(), c)
	}
	return sign("ES256", kid, ecKey(), c)
}

func setOf(kids ...string) string {
	var keys []map[string]any
	for _, kid := range kids {
		key := ecKey()
		if kid == "other" {
			key = ecOther()
		}
		keys = append(keys, jwk(kid, key, nil))
	}
	return jwks(keys...)
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newStand(t, withSet(e))
		s.run(t)
		wait(0)
		one, other := byKid("one"), byKid("other")
		s.takes(t, one)
		s.takes(t, byKid("")) // the only key that it can be
		s.refuses(t, sign("ES256", "one", ecOther(), claimsWith(nil)), ReasonSignature)
		s.refuses(t, sign("ES384", "one", ec384(), claimsWith(nil)), ReasonAlgorithm)
		s.refuses(t, sign("HS256", "one", []byte(secretA), claimsWith(nil)), ReasonAlgorithm)
		if n := e.fetched(); n != 1 {
			t.Fatalf("%d fetches for what is known, want 1", n)
		}
		// Too soon after the last fetch for another.
		e.set(setOf("one", "other"))
		s.refuses(t, other, ReasonUnknownKey)
		wait(cooldown)
		s.takes(t, other)
		s.takes(t, one)
		if n := e.fetched(); n != 2 {
			t.Fatalf("%d fetches, want 2", n)
		}
		// The old key goes with the next fetch.
		e.set(setOf("other"))
		s.takes(t, one)
		wait(10 * time.Minute)
		s.refuses(t, one, ReasonUnknownKey)
		s.takes(t, other)
		// And all keys may go.
		e.set(jwks())
		wait(10 * time.Minute)
		s.refuses(t, other, ReasonUnknownKey)
	})
}

func TestHasKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s := newStand(t, withSet(e))
		s.run(t)
		wait(0)
		if s.HasKeys() {
			t.Error("before the first set")
		}
		e.set(setOf("one"))
		wait(time.Minute)
		if !s.HasKeys() {
			t.Error("after it")
		}
		e.set("")
		wait(time.Hour)
		if !s.HasKeys() {
			t.Error("the last set stays in use")
		}
	})
}

// However many ids are made up, the endpoint is asked once in cooldown.
func TestUnknownKeysAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newStand(t, withSet(e))
		s.run(t)
		wait(time.Second)
		for range 100 {
			s.refuses(t, byKid("made-up"), ReasonUnknownKey)
			wait(time.Second)
		}
		if n := e.fetched(); n != 11 {
			t.Errorf("%d fetches in 100 s, want 11", n)
		}
	})
}

func TestLastKnownGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newStand(t, withSet(e))
		s.run(t)
		wait(0)
		one, other := byKid("one"), byKid("other")
		for _, away := range []string{"", "<html>", `{"error":"overloaded"}`} {
			e.set(away)
			wait(24 * time.Hour)
			s.takes(t, one)
			// It may have come while we could not look.
			s.refuses(t, other, ReasonKeysUnavailable)
			s.refuses(t, sign("HS256", "", []byte(secretA), claimsWith(nil)), ReasonAlgorithm)
		}
		if n := strings.Count(s.log.String(), "key set not fetched"); n != 1 {
			t.Errorf("the log tells %d times that the endpoint is away", n)
		}
		if strings.Contains(s.log.String(), "hidden") || !strings.Contains(s.log.String(), "endpoint=https://login.example.com/keys ") {
			t.Errorf("the log: %s", s.log)
		}
		if age := s.remotes[0].age(time.Time{}); age < 72*time.Hour {
			t.Errorf("age %s, want three days", age)
		}
		e.set(setOf("other"))
		wait(lastRetry)
		s.takes(t, other)
		s.refuses(t, one, ReasonUnknownKey)
		if !strings.Contains(s.log.String(), "key set fetched again") {
			t.Error("the log does not tell that the endpoint is back")
		}
	})
}

// Before there are any keys nobody is told that a credential is bad.
func TestNeverReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s := newStand(t, withSet(e))
		one := byKid("one")
		begin := time.Now()
		s.refuses(t, one, ReasonKeysUnavailable) // Run was not called
		if waited := time.Since(begin); waited != patience {
			t.Errorf("waited %s, want %s", waited, patience)
		}
		s.run(t)
		wait(0)
		s.refuses(t, one, ReasonKeysUnavailable)
		if n := e.fetched(); n != 1 {
			t.Errorf("%d fetches for one that was asked for", n)
		}
		// After failures it is asked again within a minute.
		wait(10 * time.Minute)
		if n := e.fetched(); n < 14 || n > 20 {
			t.Errorf("%d fetches in 10 min", n)
		}
		e.set(setOf("one"))
		wait(lastRetry)
		s.takes(t, one)
	})
}

// Those who come while the first fetch is under way wait for it, but not all.
func TestWaitForFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one"), delay: time.Second}
		s := newStand(t, withSet(e))
		s.run(t)
		one := byKid("one")
		var waiting sync.WaitGroup
		for range maxWaiting + 36 {
			waiting.Go(func() { _, _ = s.Verify(one) })
		}
		waiting.Wait()
		if ok, away := s.count("ok"), s.count(string(ReasonKeysUnavailable)); ok != maxWaiting || away != 36 {
			t.Errorf("%v good and %v sent away, want %d and 36", ok, away, maxWaiting)
		}
		if n := e.fetched(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// A fetch that hangs holds nobody up for longer than patience, and a known key not
// at all.
func TestSlowEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newStand(t, withSet(e))
		s.run(t)
		wait(cooldown)
		e.mu.Lock()
		e.delay = time.Hour
		e.mu.Unlock()
		begin := time.Now()
		s.refuses(t, byKid("other"), ReasonKeysUnavailable)
		if waited := time.Since(begin); waited != patience {
			t.Errorf("waited %s, want %s", waited, patience)
		}
		begin = time.Now()
		s.takes(t, byKid("one"))
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %s for a key that is known", waited)
		}
		wait(fetchTimeout)
		if n := testutil.ToFloat64(s.metrics.fetches.failed); n < 1 {
			t.Errorf("%v fetches failed", n)
		}
	})
}

// When Run ends, those who wait are let go, and nobody waits any more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one"), delay: time.Hour}
		s := newStand(t, withSet(e))
		stop := s.run(t)
		wait(0)
		begin := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() { _, _ = s.Verify(byKid("one")) })
		synctest.Wait()
		stop()
		waiting.Wait()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %s for a fetch that had ended", waited)
		}
		wait(cooldown)
		begin = time.Now()
		s.refuses(t, byKid("one"), ReasonKeysUnavailable)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %s for a fetch that will not be", waited)
		}
		if n := testutil.ToFloat64(s.metrics.fetches.failed); n != 0 {
			t.Error("our own end counts as a failure of the endpoint")
		}
	})
}

// A Verifier without key sets has a Run too.
func TestRunWithoutSets(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// The set of one project is not another's.
func TestSetsOfProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		c := withSet(e)
		c.Projects = append(c.Projects, Project{App: appB, Keys: Keys{Secrets: []string{secretB}}})
		s := newStand(t, c)
		s.run(t)
		wait(0)
		s.takes(t, byKid("one"))
		s.refuses(t, sign("ES256", "one", ecKey(), claimsWith(map[string]any{"app": appB})), ReasonAlgorithm)
	})
}

// PEM keys are good beside a set, and are tried first.
func TestPEMBesideSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		c := withSet(e)
		c.Projects[0].Keys.PublicKeyPEMs = []string{publicPEM(ecOther())}
		s := newStand(t, c)
		s.run(t)
		wait(0)
		s.takes(t, byKid("other"))
		s.takes(t, byKid("one"))
		s.refuses(t, byKid("made-up"), ReasonUnknownKey)
		s.refuses(t, sign("ES256", "one", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), claimsWith(nil)), ReasonSignature)
	})
}
