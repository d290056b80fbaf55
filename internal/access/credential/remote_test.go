package credential

import (
	"context"
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

// withEndpoint runs a Verifier with a key set under synctest's fake clock.
func withEndpoint(t *testing.T, e *endpoint, test func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSetStand(t, withSet(), e)
		s.run(t)
		synctest.Wait()
		test(t, s)
	})
}

func TestRotation(t *testing.T) {
	e := &endpoint{body: setOf("one")}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		one, other := byKid("one"), byKid("other")
		s.takes(t, one)
		s.refuses(t, sign("ES256", "one", ecOther(), claimsWith(nil)), ReasonSignature)
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
		if told.RetryAfter <= 0 || told.RetryAfter > fetchCooldown {
			t.Fatalf("told to come back in %s, want %s at most", told.RetryAfter, fetchCooldown)
		}
		wait(told.RetryAfter)
	}
	s.refuses(t, credential, ReasonUnknownKey)
}

// A credential with a key that was published a moment ago is never refused permanently. The answer says when to retry,
// and the key has been fetched before that time.
func TestNewKeySoonAfterAFetch(t *testing.T) {
	for _, after := range []time.Duration{0, fetchCooldown - maxFetchWait, fetchCooldown - time.Millisecond, fetchCooldown} {
		e := &endpoint{body: setOf("one"), delay: 10 * time.Millisecond}
		withEndpoint(t, e, func(t *testing.T, s *stand) {
			wait(10*time.Millisecond + after)
			e.set(setOf("one", "other"))
			other := byKid("other")
			if _, err := s.Verify(context.Background(), other); err != nil {
				told, ok := errors.AsType[*session.Error](err)
				if !ok || told.Code != session.CodeUnavailable || told.RetryAfter > fetchCooldown {
					t.Fatalf("%s after a fetch: %v, want a retry within %s", after, told, fetchCooldown)
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

// A key that is requested during a fetch is looked up again by the next fetch: the endpoint may have made its answer to
// the first fetch before the key was published.
func TestKeyPublishedDuringAFetch(t *testing.T) {
	e := &endpoint{body: setOf("one"), delay: time.Second}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		wait(500 * time.Millisecond) // the first fetch is in progress
		s.refuses(t, byKid("other"), ReasonKeysUnavailable)
		e.set(setOf("one", "other"))
		wait(fetchCooldown)
		s.takes(t, byKid("other"))
		if n := e.fetched(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// A credential is accepted even if a fetch brings its key after `find` has searched the old set, and before `lookUp`
// calls `requestFetch`.
func TestFetchThatEndsBetweenTwoLooks(t *testing.T) {
	r := newStand(t, withSet()).remotes[0]
	method := jwt.SigningMethodES256
	if _, err := r.set.Load().pick("one", method); err != errNotInSet { //nolint:errorlint // pick returns these very values.
		t.Fatal(err)
	}
	if _, err := r.requestFetch(hashOf("one", method)); err != nil { // another client requests the same key
		t.Fatal(err)
	}
	r.begin()
	r.end(must(readKeySet([]byte(setOf("one")))))
	if key, err := r.lookUp(context.Background(), "one", method); key == nil || err != nil {
		t.Fatalf("have key %v, error %v, want the new key", key, err)
	}
}

// If clients invent key ids, the set is fetched at most once in each fetchCooldown, and at most maxUnknown ids are
// remembered.
func TestUnknownKeysAreRateLimited(t *testing.T) {
	e := &endpoint{body: setOf("one")}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		begin := time.Now()
		for i := range 2 * maxUnknown {
			_, _ = s.Verify(context.Background(), byKid(fmt.Sprintf("made-up %d", i)))
			wait(50 * time.Millisecond)
		}
		if n, most := e.fetched(), 1+int(time.Since(begin)/fetchCooldown); n > most {
			t.Errorf("%d fetches in %s, want %d at most", n, time.Since(begin), most)
		}
		s.takes(t, byKid("one"))
		r := s.remotes[0]
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := r.unknown.Len(); n != maxUnknown {
			t.Errorf("%d made-up ids are kept, want %d", n, maxUnknown)
		}
	})
}

// Requests that all name the same unknown key are refused permanently. Only the first refusal after each fetchCooldown
// may be temporary.
func TestOneUnknownKey(t *testing.T) {
	e := &endpoint{body: setOf("one")}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		wait(time.Second)
		for range 100 {
			_, _ = s.Verify(context.Background(), byKid("made-up"))
			wait(time.Second)
		}
		if n := e.fetched(); n != 11 {
			t.Errorf("%d fetches in 100 s, want 11", n)
		}
		if away, gone := s.count(string(ReasonKeysUnavailable)), s.count(string(ReasonUnknownKey)); away > 10 || away+gone != 100 {
			t.Errorf("%v temporary refusals, and %v permanent ones", away, gone)
		}
	})
}

// While the endpoint is down, the last set stays in use, and a credential with an unknown key is refused temporarily:
// the key may have been published during the outage.
func TestLastKnownGood(t *testing.T) {
	e := &endpoint{body: setOf("one")}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		one, other := byKid("one"), byKid("other")
		for _, away := range []string{"", "<html>", `{"keys":[]}`} {
			e.set(away)
			wait(24 * time.Hour)
			s.takes(t, one)
			s.refuses(t, other, ReasonKeysUnavailable)
		}
		if n := strings.Count(s.log.String(), `level=WARN msg="key set cannot be fetched, the last one stays in use"`); n != 1 {
			t.Errorf("the log tells %d times that the endpoint is away", n)
		}
		if strings.Contains(s.log.String(), "hidden") || !strings.Contains(s.log.String(), "endpoint=https://login.example.com/keys ") {
			t.Errorf("the log: %s", &s.log)
		}
		if age := s.remotes[0].age(time.Time{}); age < 72*time.Hour || !s.HasKeys() {
			t.Errorf("age %s, want three days; has keys: %t", age, s.HasKeys())
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

// Before the first successful fetch, no credential is refused permanently, and the node has no keys.
func TestNeverReachable(t *testing.T) {
	for _, away := range []string{"", `{"keys":[]}`} {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{body: away}
			s := newSetStand(t, withSet(), e)
			one := byKid("one")
			begin := time.Now()
			s.refuses(t, one, ReasonKeysUnavailable) // no fetch begins, because the Verifier does not run yet
			if waited := time.Since(begin); waited != maxFetchWait {
				t.Errorf("waited %s, want %s", waited, maxFetchWait)
			}
			s.run(t)
			wait(0)
			s.refuses(t, one, ReasonKeysUnavailable)
			if n := e.fetched(); n != 1 || s.HasKeys() {
				t.Errorf("%d fetches for one key id; has keys: %t", n, s.HasKeys())
			}
			// After failures the set is fetched at least once in lastRetry.
			wait(10 * time.Minute)
			if n := e.fetched(); n < 14 || n > 20 {
				t.Errorf("%d fetches in 10 min", n)
			}
			e.set(setOf("one"))
			wait(lastRetry)
			s.takes(t, one)
			series, err := testutil.GatherAndCount(s.registry, "refresher_credentials_total", "refresher_jwks_fetches_total", "refresher_jwks_age_seconds")
			if err != nil || series != len(reasons)+1+2+1 {
				t.Errorf("%d series, %v", series, err)
			}
		})
	}
}

// Up to maxWaiting calls of Verify wait for the first fetch; further calls are refused temporarily.
func TestWaitForFetch(t *testing.T) {
	e := &endpoint{body: setOf("one"), delay: time.Second}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		one := byKid("one")
		var waiting sync.WaitGroup
		for range maxWaiting + 36 {
			waiting.Go(func() { _, _ = s.Verify(context.Background(), one) })
		}
		waiting.Wait()
		if ok, away := s.count("ok"), s.count(string(ReasonKeysUnavailable)); ok != maxWaiting || away != 36 || e.fetched() != 1 {
			t.Errorf("%v good and %v sent away, want %d and 36; %d fetches", ok, away, maxWaiting, e.fetched())
		}
	})
}

// While a fetch hangs, Verify waits only for credentials with an unknown key, and at most for maxFetchWait.
func TestSlowEndpoint(t *testing.T) {
	e := &endpoint{body: setOf("one")}
	withEndpoint(t, e, func(t *testing.T, s *stand) {
		wait(fetchCooldown)
		e.mu.Lock()
		e.delay = time.Hour
		e.mu.Unlock()
		begin := time.Now()
		s.refuses(t, byKid("other"), ReasonKeysUnavailable)
		s.takes(t, byKid("one"))
		if waited := time.Since(begin); waited != maxFetchWait {
			t.Errorf("waited %s, want %s", waited, maxFetchWait)
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
		s := newSetStand(t, withSet(), &endpoint{body: setOf("one"), delay: time.Hour})
		stop := s.run(t)
		synctest.Wait()
		begin := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() { _, _ = s.Verify(context.Background(), byKid("one")) })
		synctest.Wait()
		stop()
		waiting.Wait()
		wait(fetchCooldown)
		s.refuses(t, byKid("one"), ReasonKeysUnavailable)
		if waited := time.Since(begin); waited != fetchCooldown {
			t.Errorf("waited %s for fetches that will not end", waited-fetchCooldown)
		}
		if n := testutil.ToFloat64(s.metrics.fetches.WithLabelValues("failed")); n != 0 {
			t.Error("our own end counts as a failure of the endpoint")
		}
	})
}

// A project may have both public keys and a key set. No key verifies credentials of another project.
func TestPEMBesideSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withSet()
		c.Projects[0].Keys.PublicKeyPEMs = []string{publicPEM(ecOther())}
		c.Projects = append(c.Projects, Project{App: appB, Keys: Keys{Secrets: []string{secretB}}})
		s := newSetStand(t, c, &endpoint{body: setOf("one")})
		s.run(t)
		synctest.Wait()
		s.takes(t, byKid("other"))
		s.takes(t, byKid("one"))
		s.refusesInTime(t, byKid("made-up"))
		s.refuses(t, sign("ES256", "one", ecOther(), claimsWith(map[string]any{"sub": 7})), ReasonClaims)
		s.refuses(t, sign("ES256", "one", ecKey(), claimsWith(map[string]any{"app": appB})), ReasonAlgorithm)
	})
}

func TestRunWithoutSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, one(Keys{Secrets: []string{secretA}}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		s.Run(ctx)
		if ran := time.Since(begin); ran != time.Hour {
			t.Errorf("Run returned after %s", ran)
		}
	})
}
