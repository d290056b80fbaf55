package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
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
		s := newSetStand(t, withSet(), e)
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
		s.refuses(t, other, ReasonKeysUnavailable)
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
		s.takes(t, other)
		s.refusesInTime(t, one)
	})
}

// refusesInTime expects a credential under an unknown key to be refused for good, once
// its key was looked up: at once, or when whoever shows it was told to come back.
func (s *stand) refusesInTime(t *testing.T, credential string) {
	t.Helper()
	_, err := s.Verify(context.Background(), credential)
	if told, ok := errors.AsType[*session.Error](err); ok && told.Code == session.CodeUnavailable {
		if told.RetryAfter <= 0 || told.RetryAfter > cooldown {
			t.Fatalf("told to come back in %s, want %s at most", told.RetryAfter, cooldown)
		}
		wait(told.RetryAfter)
	}
	s.refuses(t, credential, ReasonUnknownKey)
}

// TestNewKeySoonAfterAFetch: whoever shows a credential under a key that was published a
// moment ago is never told that it is not valid, and gets in as soon as the key can have
// been fetched.
func TestNewKeySoonAfterAFetch(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, cooldown - patience, cooldown - time.Millisecond, cooldown} {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{body: setOf("one"), delay: 10 * time.Millisecond}
			s := newSetStand(t, withSet(), e)
			s.run(t)
			wait(10*time.Millisecond + after)
			e.set(setOf("one", "other"))
			other := byKid("other")
			_, err := s.Verify(context.Background(), other)
			if err != nil {
				told, ok := errors.AsType[*session.Error](err)
				if !ok || told.Code != session.CodeUnavailable || told.RetryAfter > cooldown {
					t.Fatalf("%s after a fetch: %v, want to be told to come back within %s", after, told, cooldown)
				}
				wait(told.RetryAfter)
				s.takes(t, other)
			}
			if n := e.fetched(); n != 2 {
				t.Errorf("%s after a fetch: %d fetches, want 2", after, n)
			}
		})
	}
}

// TestKeyPublishedDuringAFetch: what a fetch brings may be older than a credential that
// came while it was under way, so it is looked up once more.
func TestKeyPublishedDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one"), delay: time.Second}
		s := newSetStand(t, withSet(), e)
		s.run(t)
		wait(500 * time.Millisecond) // the first fetch is under way
		s.refuses(t, byKid("other"), ReasonKeysUnavailable)
		e.set(setOf("one", "other"))
		wait(cooldown)
		s.takes(t, byKid("other"))
		if n := e.fetched(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// TestFetchThatEndsBetweenTwoLooks: a fetch may bring a key after the set was searched for
// it, and before the next fetch is asked for. The credential is good then.
func TestFetchThatEndsBetweenTwoLooks(t *testing.T) {
	r := newStand(t, withSet()).remotes[0]
	method := jwt.SigningMethodES256
	if _, err := r.set.Load().pick("one", method); err != errNotInSet { //nolint:errorlint // pick returns these very values.
		t.Fatal(err)
	}
	if _, err := r.want(wantedOf("one", method)); err != nil { // for another client
		t.Fatal(err)
	}
	r.begin()
	r.end(must(readKeySet([]byte(setOf("one")))))
	if key, err := r.lookUp(context.Background(), "one", method); key == nil || err != nil {
		t.Fatalf("have key %v, error %v, want the new key", key, err)
	}
}

// TestNoKeySetIsAFailedFetch: a set without a key that is of use does not replace one
// that has some, and does not make a node ready.
func TestNoKeySetIsAFailedFetch(t *testing.T) {
	for _, body := range noKeySets() {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{body: setOf("one")}
			s := newSetStand(t, withSet(), e)
			s.run(t)
			wait(0)
			e.set(body)
			wait(time.Hour)
			s.takes(t, byKid("one"))
			s.refuses(t, byKid("other"), ReasonKeysUnavailable)
			if n := strings.Count(s.log.String(), `level=WARN msg="key set not fetched, the last one stays in use"`); n != 1 {
				t.Errorf("%s: %d warnings:\n%s", body, n, s.log)
			}
			if age := s.remotes[0].age(time.Time{}); age < 50*time.Minute {
				t.Errorf("%s: age %s", body, age)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{body: body}
			s := newSetStand(t, withSet(), e)
			s.run(t)
			wait(0)
			if s.HasKeys() {
				t.Errorf("%s: a node that starts with it has keys", body)
			}
			s.refuses(t, byKid("one"), ReasonKeysUnavailable)
			e.set(setOf("one"))
			wait(lastRetry)
			s.takes(t, byKid("one"))
		})
	}
}

// TestKeyThatWasTakenOut: a key that its issuer has replaced is good for nothing.
func TestKeyThatWasTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newSetStand(t, withSet(), e)
		s.run(t)
		wait(0)
		e.set(setOf("other"))
		wait(10 * time.Minute)
		s.refusesInTime(t, byKid("one"))
	})
}

func TestHasKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s := newSetStand(t, withSet(), e)
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

// However many ids are made up, the endpoint is asked once in cooldown, and what is kept
// of them is bounded.
func TestUnknownKeysAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newSetStand(t, withSet(), e)
		s.run(t)
		wait(time.Second)
		begin := time.Now()
		for i := range 100 {
			for j := range 20 {
				_, err := s.Verify(context.Background(), byKid(fmt.Sprintf("made-up %d %d", i, j)))
				if told := refusal(t, err); told.Reason != ReasonKeysUnavailable && told.Reason != ReasonUnknownKey {
					t.Fatalf("have %s", told.Reason)
				}
			}
			wait(time.Second)
		}
		if n, most := e.fetched(), 2+int(time.Since(begin)/cooldown); n > most {
			t.Errorf("%d fetches in %s, want %d at most", n, time.Since(begin), most)
		}
		wait(cooldown)
		s.takes(t, byKid("one"))
		_, _ = s.Verify(context.Background(), byKid("made-up")) // has the set fetched
		for i := range 2 * maxNamed {
			_, _ = s.Verify(context.Background(), byKid(fmt.Sprintf("made-up %d", i)))
		}
		r := s.remotes[0]
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := r.named.Len(); n != maxNamed {
			t.Errorf("%d made-up ids are kept, want %d", n, maxNamed)
		}
	})
}

// One made-up id is refused for good as often as it can be.
func TestOneUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newSetStand(t, withSet(), e)
		s.run(t)
		wait(time.Second)
		for range 100 {
			_, _ = s.Verify(context.Background(), byKid("made-up"))
			wait(time.Second)
		}
		if n := e.fetched(); n != 11 {
			t.Errorf("%d fetches in 100 s, want 11", n)
		}
		if away, gone := s.count(string(ReasonKeysUnavailable)), s.count(string(ReasonUnknownKey)); away > 10 || away+gone != 100 {
			t.Errorf("told %v times to come back, and %v times that there is no such key", away, gone)
		}
	})
}

func TestLastKnownGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		s := newSetStand(t, withSet(), e)
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
		s.refusesInTime(t, one)
		if !strings.Contains(s.log.String(), "key set fetched again") {
			t.Error("the log does not tell that the endpoint is back")
		}
	})
}

// Before there are any keys nobody is told that a credential is bad.
func TestNeverReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s := newSetStand(t, withSet(), e)
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
		s := newSetStand(t, withSet(), e)
		s.run(t)
		one := byKid("one")
		var waiting sync.WaitGroup
		for range maxWaiting + 36 {
			waiting.Go(func() { _, _ = s.Verify(context.Background(), one) })
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
		s := newSetStand(t, withSet(), e)
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
		if n := testutil.ToFloat64(s.metrics.fetches.WithLabelValues("failed")); n < 1 {
			t.Errorf("%v fetches failed", n)
		}
	})
}

// When Run ends, those who wait are let go, and nobody waits any more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one"), delay: time.Hour}
		s := newSetStand(t, withSet(), e)
		stop := s.run(t)
		wait(0)
		begin := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() { _, _ = s.Verify(context.Background(), byKid("one")) })
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
		if n := testutil.ToFloat64(s.metrics.fetches.WithLabelValues("failed")); n != 0 {
			t.Error("our own end counts as a failure of the endpoint")
		}
	})
}

// A Verifier without key sets has a Run too.
func TestRunWithoutSets(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx)
}

// The set of one project is not another's.
func TestSetsOfProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one")}
		c := withSet()
		c.Projects = append(c.Projects, Project{App: appB, Keys: Keys{Secrets: []string{secretB}}})
		s := newSetStand(t, c, e)
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
		c := withSet()
		c.Projects[0].Keys.PublicKeyPEMs = []string{publicPEM(ecOther())}
		s := newSetStand(t, c, e)
		s.run(t)
		wait(0)
		s.takes(t, byKid("other"))
		s.takes(t, byKid("one"))
		s.refusesInTime(t, byKid("made-up"))
		s.refuses(t, sign("ES256", "one", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), claimsWith(nil)), ReasonSignature)
	})
}
