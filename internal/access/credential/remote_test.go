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

// wait lets simulated time pass, and then waits until all goroutines are blocked.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// byKid returns a credential signed with the key of the given id, valid for 1000 h.
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
		s.takes(t, byKid("")) // without a key id, the set's only key is used
		s.refuses(t, sign("ES256", "one", ecOther(), claimsWith(nil)), ReasonSignature)
		s.refuses(t, sign("ES384", "one", ec384(), claimsWith(nil)), ReasonAlgorithm)
		s.refuses(t, sign("HS256", "one", []byte(secretA), claimsWith(nil)), ReasonAlgorithm)
		if n := e.fetched(); n != 1 {
			t.Fatalf("%d fetches for what is known, want 1", n)
		}
		// The cooldown after the last fetch is not over, so the new key is not fetched yet.
		e.set(setOf("one", "other"))
		s.refuses(t, other, ReasonKeysUnavailable)
		wait(cooldown)
		s.takes(t, other)
		s.takes(t, one)
		if n := e.fetched(); n != 2 {
			t.Fatalf("%d fetches, want 2", n)
		}
		// The next fetch removes the old key.
		e.set(setOf("other"))
		s.takes(t, one)
		wait(10 * time.Minute)
		s.takes(t, other)
		s.refusesInTime(t, one)
	})
}

// refusesInTime checks that a credential with an unknown key is refused permanently, either at once
// or after the client has retried at the time that the first answer gives.
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

// A credential with a key that was published a moment ago is never refused permanently. The client is told to retry
// later, and is admitted as soon as the cooldown allows the next fetch.
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

// The endpoint may have made an answer that is still on its way before a credential's key was published. So a key that
// is requested during a fetch is looked up again by the next fetch.
func TestKeyPublishedDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{body: setOf("one"), delay: time.Second}
		s := newSetStand(t, withSet(), e)
		s.run(t)
		wait(500 * time.Millisecond) // the first fetch is in progress
		s.refuses(t, byKid("other"), ReasonKeysUnavailable)
		e.set(setOf("one", "other"))
		wait(cooldown)
		s.takes(t, byKid("other"))
		if n := e.fetched(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// A credential is accepted even if a fetch brings its key just after `lookUp` has searched the old set, and before
// `lookUp` calls the method `want`.
func TestFetchThatEndsBetweenTwoLooks(t *testing.T) {
	r := newStand(t, withSet()).remotes[0]
	method := jwt.SigningMethodES256
	if _, err := r.set.Load().pick("one", method); err != errNotInSet { //nolint:errorlint // pick returns these very values.
		t.Fatal(err)
	}
	if _, err := r.want(wantedOf("one", method)); err != nil { // another client requests the same key
		t.Fatal(err)
	}
	r.begin()
	r.end(must(readKeySet([]byte(setOf("one")))))
	if key, err := r.lookUp(context.Background(), "one", method); key == nil || err != nil {
		t.Fatalf("have key %v, error %v, want the new key", key, err)
	}
}

// A set without a usable key is a failed fetch: it does not replace a set with keys, and does not
// make the node ready.
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

// A key that is no longer in the key set is refused.
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

// However many key ids are invented, the set is fetched at most once in each cooldown, and at most
// maxNamed ids are remembered.
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
		_, _ = s.Verify(context.Background(), byKid("made-up")) // requests a fetch
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

// Requests with one unknown key are refused permanently, except for those just after each cooldown, whose clients are
// told to retry.
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
			// The key may have been published during the outage, so the refusal is temporary.
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

// Before the first successful fetch, no credential is refused permanently.
func TestNeverReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s := newSetStand(t, withSet(), e)
		one := byKid("one")
		begin := time.Now()
		s.refuses(t, one, ReasonKeysUnavailable) // run was not started, so Verify waits for its full patience
		if waited := time.Since(begin); waited != patience {
			t.Errorf("waited %s, want %s", waited, patience)
		}
		s.run(t)
		wait(0)
		s.refuses(t, one, ReasonKeysUnavailable)
		if n := e.fetched(); n != 1 {
			t.Errorf("%d fetches for one that was asked for", n)
		}
		// After failures the set is fetched at least once in lastRetry.
		wait(10 * time.Minute)
		if n := e.fetched(); n < 14 || n > 20 {
			t.Errorf("%d fetches in 10 min", n)
		}
		e.set(setOf("one"))
		wait(lastRetry)
		s.takes(t, one)
	})
}

// During the first fetch, up to maxWaiting calls of Verify wait for it; further ones are refused
// temporarily.
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

// While a fetch hangs, Verify waits for at most patience, and not at all for a known key.
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

// When Run ends, waiting calls of Verify return, and later calls do not wait.
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

// Without key sets, Run returns when its context is done.
func TestRunWithoutSets(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx)
}

// Each project accepts only the keys of its own key set.
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

// A project may have PEM keys and a key set. The PEM keys are tried first.
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
