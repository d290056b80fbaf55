package demo

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/web/demo/edge"
)

// signing is a simulated service, which signs with the first of its certificates.
type signing struct {
	mu    sync.Mutex
	has   []string      // guarded by mu
	fails error         // guarded by mu
	takes time.Duration // how long it takes until the service signs with a new certificate
}

func (s *signing) sign(ctx context.Context, certificates []string) (string, error) {
	if s.takes > 0 && !elapse(ctx, s.takes) {
		return "", ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return "", s.fails
	}
	s.has = certificates
	return "print of " + certificates[0][:4], nil
}

func (s *signing) certificate() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has[0]
}

func newRolling(t *testing.T, s *signing) *Demo {
	s.has = []string{testCert}
	return newDemo(t, func(c *Config) { c.Certificate, c.Sign = testCert, s.sign })
}

// begun is the answer to a request for a rotation.
type begun struct {
	Certificate  string
	OldRefusedAt int64
	Error, Code  string
}

func (d *Demo) replaceNow(t *testing.T) (*httptest.ResponseRecorder, begun) {
	t.Helper()
	w := d.ask(t, http.MethodPost, "/demo/certificate")
	var b begun
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
	return w, b
}

// admits reports whether the simulated edge admits a client with a token of this certificate.
func (d *Demo) admits(t *testing.T, certificate string) bool {
	t.Helper()
	call, err := d.config.Edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "room", User: "7", Token: token(t, certificate, time.Minute)})
	if err != nil {
		return false
	}
	if err := call.Leave(); err != nil {
		t.Error(err)
	}
	return true
}

func TestCertificateIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &signing{takes: 300 * time.Millisecond}
		d := newRolling(t, s)
		defer d.Close()
		old := testCert
		for range 2 { // the certificate is replaced twice in a row
			now := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(100 * time.Millisecond) // bubble
				if w, _ := d.replaceNow(t); w.Code != http.StatusConflict {
					t.Errorf("at the same time: %d %s", w.Code, w.Body)
				}
			})
			w, b := d.replaceNow(t)
			wg.Wait()
			next := s.certificate()
			if w.Code != http.StatusOK || b.Certificate != "print of "+next[:4] || next == old || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			refusedAt := time.Unix(b.OldRefusedAt, 0)
			if after := refusedAt.Sub(now); after < defaultGrace || after > defaultGrace+2*time.Second {
				t.Errorf("the old one is to be refused after %s", after)
			}
			if !d.admits(t, old) || !d.admits(t, next) || len(s.has) != 2 || s.has[1] != old {
				t.Errorf("before that: old %v, new %v, %d certificates", d.admits(t, old), d.admits(t, next), len(s.has))
			}
			again, refused := d.replaceNow(t)
			wait, err := strconv.Atoi(again.Header().Get("Retry-After"))
			if again.Code != http.StatusConflict || refused.Error == "" || err != nil || now.Add(time.Duration(wait+1)*time.Second).Before(refusedAt) {
				t.Errorf("a second one: %d %s, Retry-After %d s", again.Code, again.Body, wait)
			}
			time.Sleep(time.Until(refusedAt) - time.Nanosecond) // bubble
			synctest.Wait()
			if !d.admits(t, old) {
				t.Error("the old one is refused too early")
			}
			time.Sleep(time.Nanosecond) // bubble
			synctest.Wait()
			if d.admits(t, old) || !d.admits(t, next) {
				t.Errorf("after that: old %v, new %v", d.admits(t, old), d.admits(t, next))
			}
			old = next
		}
	})
}

func TestReplacementThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &signing{fails: errors.New("disk full")}
		d := newRolling(t, s)
		defer d.Close()
		if w, b := d.replaceNow(t); w.Code != http.StatusInternalServerError || b.Code != "internal" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		synctest.Wait()
		if !d.admits(t, testCert) {
			t.Error("the certificate in use is refused")
		}
		s.fails = nil
		if w, _ := d.replaceNow(t); w.Code != http.StatusOK || s.has[1] != testCert {
			t.Errorf("then: %d %s", w.Code, w.Body)
		}
	})
}

// If the service takes long to sign, the request ends with an error, but the rotation goes on.
func TestReplacementGoesOnWithoutItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &signing{takes: time.Minute}
		d := newRolling(t, s)
		defer d.Close()
		began := time.Now()
		if w, b := d.replaceNow(t); w.Code != http.StatusServiceUnavailable || b.Code != "unavailable" || time.Since(began) != signPatience {
			t.Errorf("%d %s after %s", w.Code, w.Body, time.Since(began))
		}
		if w, _ := d.replaceNow(t); w.Code != http.StatusConflict {
			t.Errorf("again: %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Minute) // bubble
		synctest.Wait()
		if next := s.certificate(); d.admits(t, testCert) || !d.admits(t, next) {
			t.Error("it was not carried out")
		}
	})
}

func TestCloseCutsAReplacementShort(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Hour} { // 0: the rotation waits for Grace; an hour: it waits for the service
		synctest.Test(t, func(t *testing.T) {
			d := newRolling(t, &signing{takes: takes})
			began := time.Now()
			answered := make(chan int, 1)
			go func() { answered <- d.ask(t, http.MethodPost, "/demo/certificate").Code }()
			synctest.Wait()
			d.Close()
			<-answered
			if took := time.Since(began); took != 0 {
				t.Errorf("took %s", took)
			}
			if w, _ := d.replaceNow(t); w.Code != http.StatusServiceUnavailable {
				t.Errorf("after that: %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestRealCertificateIsNotReplaced(t *testing.T) {
	for name, change := range map[string]func(*Config){"real": atAgora, "stand-in": nil} {
		if w, b := newDemo(t, change).replaceNow(t); w.Code != http.StatusConflict || b.Code != "forbidden" || b.Error == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
