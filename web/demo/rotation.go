package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// signPatience is how long a request waits until the service signs with the new certificate, which usually takes
// milliseconds.
const signPatience = 10 * time.Second

// rotation is the state of the App Certificate.
type rotation struct {
	certificate string // the certificate that signs tokens
	running     bool
	until       time.Time // when the simulated edge will refuse the old certificate; zero until the service signs with the new one
}

// started is the outcome of the first part of a rotation: the service signs with the new certificate, or an error has
// left everything as it was.
type started struct {
	fingerprint string
	refusedAt   time.Time
	err         error
}

func (d *Demo) serveRotation(w http.ResponseWriter, r *http.Request) {
	if d.config.Sign == nil {
		refuse(w, http.StatusConflict, "forbidden", "this demo runs with the App Certificate of an Agora project, which only Agora's console replaces; docs/operate/security.md has the steps")
		return
	}
	result, wait := d.startRotation()
	if result == nil && wait == 0 {
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the demo stops")
		return
	}
	if result == nil {
		seconds := int64((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		refuse(w, http.StatusConflict, "unavailable", fmt.Sprintf("the certificate is being replaced already; try again in %d s, when the old one is refused", seconds))
		return
	}
	patience := time.NewTimer(signPatience)
	defer patience.Stop()
	select {
	case outcome := <-result:
		d.answerRotation(w, outcome)
	case <-patience.C:
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the service has not read its new certificate yet; it goes on trying")
	case <-r.Context().Done(): // the rotation goes on without the client
	}
}

func (d *Demo) answerRotation(w http.ResponseWriter, outcome started) {
	if outcome.err != nil {
		d.config.Logger.Error("the certificate was not replaced", "error", outcome.err)
		refuse(w, http.StatusInternalServerError, "internal", "the certificate was not replaced; the log says why")
		return
	}
	body, err := json.Marshal(map[string]any{"certificate": outcome.fingerprint, "oldRefusedAt": outcome.refusedAt.Unix()})
	if err != nil {
		panic(err) // cannot fail for a string and a number
	}
	writeJSON(w, http.StatusOK, body)
}

// startRotation starts a rotation, and returns a channel for the outcome of its first part. The channel is nil if the
// demo stops, or if a rotation is already running: `wait` is then about how long that rotation still takes, and 0 if
// the demo stops.
func (d *Demo) startRotation() (result <-chan started, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, 0
	case d.rotation.running && d.rotation.until.IsZero():
		return nil, d.config.Grace
	case d.rotation.running:
		return nil, max(time.Until(d.rotation.until), time.Second)
	}
	d.rotation.running, d.rotation.until = true, time.Time{}
	old, outcome := d.rotation.certificate, make(chan started, 1)
	d.parts.Go(func() {
		signs := d.replace(old, outcome)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.rotation.running, d.rotation.certificate = false, signs
	})
	return outcome, 0
}

// replace runs a whole rotation, until the simulated edge refuses the old certificate. It returns the certificate with
// which the service then signs.
func (d *Demo) replace(old string, outcome chan<- started) (signs string) {
	next := newCertificate()
	// The simulated edge must accept the new certificate before the service signs with it, so that no token of the
	// service is refused.
	if err := d.config.Edge.SetCertificates(next, old); err != nil {
		outcome <- started{err: err}
		return old
	}
	fingerprint, err := d.config.Sign(d.ctx, []string{next, old})
	if err != nil {
		_ = d.config.Edge.SetCertificates(old, "") // no error: the simulated edge has accepted this certificate before
		outcome <- started{err: err}
		return old
	}
	refusedAt := time.Now().Add(d.config.Grace + time.Second - 1).Truncate(time.Second) // rounded up to a whole second, since the answer has whole seconds
	d.mu.Lock()
	d.rotation.until = refusedAt
	d.mu.Unlock()
	d.config.Logger.Info("the certificate was replaced", "fingerprint", fingerprint, "old_refused_at", refusedAt.Unix())
	outcome <- started{fingerprint: fingerprint, refusedAt: refusedAt}
	if elapse(d.ctx, time.Until(refusedAt)) {
		_ = d.config.Edge.SetCertificates(next, "") // no error: the simulated edge has accepted this certificate above
		d.config.Logger.Info("the old certificate is refused from now on")
	}
	return next
}

// elapse waits for d. It returns false if ctx ends first.
func elapse(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func newCertificate() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
