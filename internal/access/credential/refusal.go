package credential

import (
	"cmp"
	"time"

	"refresher/internal/session"
)

// Reason is why a credential was refused, as a word for the log and for a label.
// docs/start/troubleshooting.md has the remedy for each.
type Reason string

const (
	ReasonMissing         Reason = "missing"          // there is none
	ReasonTooLong         Reason = "too_long"         // it is longer than MaxCredential
	ReasonMalformed       Reason = "malformed"        // it is not a JWT
	ReasonCriticalHeader  Reason = "critical_header"  // its header has crit: an extension that must be understood
	ReasonAlgorithm       Reason = "algorithm"        // the project has no key for its algorithm
	ReasonUnknownKey      Reason = "unknown_key"      // it names a key that the project's key set does not have
	ReasonKeysUnavailable Reason = "keys_unavailable" // the key set could not be fetched
	ReasonSignature       Reason = "signature"        // no key of the project signed it
	ReasonApp             Reason = "app"              // it names no project of this service
	ReasonClaims          Reason = "claims"           // a claim has the wrong kind, case or value
	ReasonNoExpiry        Reason = "no_expiry"        // it has no exp
	ReasonExpired         Reason = "expired"          // exp has passed
	ReasonNotYetValid     Reason = "not_yet_valid"    // nbf is ahead
	ReasonIssuedAhead     Reason = "issued_ahead"     // iat is ahead
	ReasonAudience        Reason = "audience"         // aud does not contain --jwt-audience
	ReasonIssuer          Reason = "issuer"           // iss is not --jwt-issuer
)

// reasons are all of them.
var reasons = []Reason{
	ReasonMissing, ReasonTooLong, ReasonMalformed, ReasonCriticalHeader, ReasonAlgorithm, ReasonUnknownKey,
	ReasonKeysUnavailable, ReasonSignature, ReasonApp, ReasonClaims, ReasonNoExpiry, ReasonExpired,
	ReasonNotYetValid, ReasonIssuedAhead, ReasonAudience, ReasonIssuer,
}

// awayRetry is the wait that clients are told while a key set cannot be fetched.
const awayRetry = 2 * time.Second

// Errors that callers see.
var (
	errMissing = session.Errorf(session.CodeUnauthenticated, "a credential is needed here")
	errRefused = session.Errorf(session.CodeUnauthenticated, "the credential is not valid here, or has expired; fetch a new one")
)

// RefusedError says why a credential was refused. Its text is that of the *session.Error that
// it wraps, which the caller may see; Reason and Detail are for the log.
type RefusedError struct {
	Reason Reason
	// Detail says which part is at fault; may be empty. It repeats nothing of the
	// credential.
	Detail string

	retryAfter time.Duration // of ReasonKeysUnavailable; zero: awayRetry
}

func (r *RefusedError) Error() string { return r.Unwrap().Error() }

// Unwrap returns what the caller may see.
func (r *RefusedError) Unwrap() error {
	switch r.Reason {
	case ReasonMissing:
		return errMissing
	case ReasonKeysUnavailable:
		return &session.Error{
			Code: session.CodeUnavailable, Message: "credentials cannot be checked just now; try again", RetryAfter: cmp.Or(r.retryAfter, awayRetry),
		}
	default:
		return errRefused
	}
}

func refuse(why Reason, detail string) error { return &RefusedError{Reason: why, Detail: detail} }
