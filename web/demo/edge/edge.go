package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Config sets up an [Edge].
type Config struct {
	AppID                string        // 32 hex digits, as Agora shows them: tokens sign this text, so case matters
	Certificate          string        // primary App Certificate: 32 hex digits, whose case matters
	SecondaryCertificate string        // a second certificate, equally valid; empty if there is none
	WarnBefore           time.Duration // how long before the end of a call its client is warned; 0 means 30 s, as at Agora
	Logger               *slog.Logger  // gets one line for each event, without tokens and certificates; nil means no log
}

const defaultWarnBefore = 30 * time.Second

// Edge admits calls, drops them when their tokens expire, and keeps the record. It is safe for
// concurrent use.
type Edge struct {
	warnBefore time.Duration
	log        *slog.Logger

	mu           sync.Mutex
	keys         keyring               // guarded by mu; the slice in it is replaced, never changed
	histories    map[identity]*history // guarded by mu; has an entry for every call that was ever admitted
	joinsRefused int                   // guarded by mu; counts refused joins of calls that have no entry in histories
	closed       bool                  // guarded by mu
	notes        []note                // guarded by mu; log lines that are not written yet
	logging      bool                  // guarded by mu; whether a goroutine is writing log lines
	logged       sync.Cond             // wakes goroutines that wait until logging is false; its Locker is mu
}

// New returns an Edge for one App ID.
func New(config Config) (*Edge, error) {
	if !isHex32(config.AppID) {
		return nil, errors.New("edge: the App ID is not 32 hex digits")
	}
	if config.WarnBefore < 0 {
		return nil, fmt.Errorf("edge: WarnBefore is %s, below zero", config.WarnBefore)
	}
	e := &Edge{
		warnBefore: config.WarnBefore,
		log:        config.Logger,
		keys:       keyring{appID: config.AppID},
		histories:  make(map[identity]*history),
	}
	e.logged.L = &e.mu
	if e.warnBefore == 0 {
		e.warnBefore = defaultWarnBefore
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if err := e.SetCertificates(config.Certificate, config.SecondaryCertificate); err != nil {
		return nil, err
	}
	return e, nil
}

// SetCertificates replaces the certificates, like a rotation in Agora's console. Calls go on until their tokens expire,
// but joins and renewals need tokens that one of these certificates has signed. The secondary certificate may be empty.
func (e *Edge) SetCertificates(primary, secondary string) error {
	certificates := []string{primary}
	if secondary != "" {
		certificates = append(certificates, secondary)
	}
	for _, certificate := range certificates {
		if !isHex32(certificate) {
			return errors.New("edge: an App Certificate is not 32 hex digits")
		}
	}
	e.mu.Lock()
	defer e.unlock()
	e.keys.certificates = certificates
	return nil
}

// Close ends all calls as if their clients had left, and refuses new ones. When it returns, all log lines are written.
// The record can still be read.
func (e *Edge) Close() {
	e.mu.Lock()
	e.closed = true
	now := time.Now()
	for _, h := range e.histories {
		h.owner.settle(now)
		h.owner.leave(now)
	}
	e.unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	for e.logging {
		e.logged.Wait()
	}
}

func (e *Edge) keyring() keyring {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys
}

func isHex32(s string) bool {
	if len(s) != 32 {
		return false
	}
	for _, b := range []byte(s) {
		switch {
		case '0' <= b && b <= '9', 'a' <= b && b <= 'f', 'A' <= b && b <= 'F':
		default:
			return false
		}
	}
	return true
}
