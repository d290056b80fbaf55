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

// signPatience is how long a request waits for the service to sign with the new
// certificate, which is a matter of milliseconds.
const signPatience = 10 * time.Second

// roll is the state of the certificate: one is in use, or it is being replaced.
type roll struct {
	certificate string    // the one that signs
	going       bool      // it is being replaced
	until       time.Time // when that is over, once it is known
}

// rolled is how a replacement began.
type rolled struct {
	fingerprint string
	refusedAt   time.Time
	err         error
}

// serveRoll answers POST /demo/certificate.
func (d *Demo) serveRoll(w http.ResponseWriter, r *http.Request) {
	if d.config.Sign == nil {
		refuse(w, http.StatusConflict, "forbidden", "this demo runs with the App Certificate of an Agora project, which only Agora's console replaces; docs/security.md has the steps")
		return
	}
	began, wait := d.startRoll()
	if began == nil && wait == 0 {
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the demo stops")
		return
	}
	if began == nil {
		seconds := int64((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		refuse(w, http.StatusConflict, "unavailable", fmt.Sprintf("the certificate is being replaced already; try again in %d s, when the old one is refused", seconds))
		return
	}
	patience := time.NewTimer(signPatience)
	defer patience.Stop()
	select {
	case result := <-began:
		d.answerRoll(w, result)
	case <-patience.C:
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the service has not read its new certificate yet; it goes on trying")
	case <-r.Context().Done(): // nobody waits for the answer
	}
}

func (d *Demo) answerRoll(w http.ResponseWriter, result rolled) {
	if result.err != nil {
		d.config.Logger.Error("the certificate was not replaced", "error", result.err)
		refuse(w, http.StatusInternalServerError, "internal", "the certificate was not replaced; the log says why")
		return
	}
	body, err := json.Marshal(map[string]any{"certificate": result.fingerprint, "oldRefusedAt": result.refusedAt.Unix()})
	if err != nil {
		panic(err) // of a string and a number
	}
	writeJSON(w, http.StatusOK, body)
}

// startRoll begins to replace the certificate, and gives how that went. With nil it is
// being replaced already, for about wait, or the demo stops.
func (d *Demo) startRoll() (began <-chan rolled, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, 0
	case d.roll.going && d.roll.until.IsZero(): // the service is still to sign with the new one
		return nil, d.config.Grace
	case d.roll.going:
		return nil, max(time.Until(d.roll.until), time.Second)
	}
	d.roll.going, d.roll.until = true, time.Time{}
	old, result := d.roll.certificate, make(chan rolled, 1)
	d.parts.Go(func() {
		signs := d.replace(old, result)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.roll.going, d.roll.certificate = false, signs
	})
	return result, 0
}

// replace does the work, up to when the old certificate is refused. It gives the one
// that signs now.
func (d *Demo) replace(old string, began chan<- rolled) (signs string) {
	next := newCertificate()
	// First to be accepted, then signed with: no token of the service is ever refused.
	if err := d.config.Edge.SetCertificates(next, old); err != nil {
		began <- rolled{err: err}
		return old
	}
	fingerprint, err := d.config.Sign(d.ctx, []string{next, old})
	if err != nil {
		_ = d.config.Edge.SetCertificates(old, "") // as it was accepted before
		began <- rolled{err: err}
		return old
	}
	refusedAt := time.Now().Add(d.config.Grace + time.Second - 1).Truncate(time.Second) // a whole one, as is announced
	d.mu.Lock()
	d.roll.until = refusedAt
	d.mu.Unlock()
	d.config.Logger.Info("the certificate was replaced", "fingerprint", fingerprint, "old_refused_at", refusedAt.Unix())
	began <- rolled{fingerprint: fingerprint, refusedAt: refusedAt}
	if elapse(d.ctx, time.Until(refusedAt)) {
		_ = d.config.Edge.SetCertificates(next, "") // it was accepted above
		d.config.Logger.Info("the old certificate is refused from now on")
	}
	return next
}

// elapse reports whether d went by before ctx was done.
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

// newCertificate makes an App Certificate up.
func newCertificate() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
