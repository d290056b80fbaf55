package credential

import (
	"cmp"
	"time"

	"refresher/internal/session"
)

// Reason is why a credential was refused: a word for the log and a label. The set
// is fixed.
type Reason string

const (
	ReasonMissing         Reason = "missing"          // there is none
	ReasonTooLong         Reason = "too_long"         // it is longer than MaxCredential
	ReasonMalformed       Reason = "malformed"        // it is no JWT
	ReasonCriticalHeader  Reason = "critical_header"  // its header asks for an extension to be understood
	ReasonAlgorithm       Reason = "algorithm"        // the project has no key for its algorithm
	ReasonUnknownKey      Reason = "unknown_key"      // it names a key that the project's key set does not have
	ReasonKeysUnavailable Reason = "keys_unavailable" // its key cannot be looked up now, or was not yet
	ReasonSignature       Reason = "signature"        // none of the keys has signed it
	ReasonApp             Reason = "app"              // it names no project, or none that is here
	ReasonClaims          Reason = "claims"           // a claim is not what it should be
	ReasonNoExpiry        Reason = "no_expiry"        // it never ends
	ReasonExpired         Reason = "expired"          // its end (exp) is past
	ReasonNotYetValid     Reason = "not_yet_valid"    // its begin (nbf) is ahead
	ReasonIssuedAhead     Reason = "issued_ahead"     // it is from the future (iat)
	ReasonAudience        Reason = "audience"         // it is for somebody else (aud)
	ReasonIssuer          Reason = "issuer"           // it is from somebody else (iss)
)

// reasons are all of them.
var reasons = []Reason{
	ReasonMissing, ReasonTooLong, ReasonMalformed, ReasonCriticalHeader, ReasonAlgorithm, ReasonUnknownKey,
	ReasonKeysUnavailable, ReasonSignature, ReasonApp, ReasonClaims, ReasonNoExpiry, ReasonExpired,
	ReasonNotYetValid, ReasonIssuedAhead, ReasonAudience, ReasonIssuer,
}

// awayRetry is when to come back while a key cannot be fetched.
const awayRetry = 2 * time.Second

// What callers are told.
var (
	errMissing = session.Errorf(session.CodeUnauthenticated, "a credential is needed here")
	errRefused = session.Errorf(session.CodeUnauthenticated, "the credential is not valid here, or has expired; fetch a new one")
)

// RefusedError is why a credential was not taken. It wraps the *session.Error that the
// caller may see, and reads like that; the rest is for the log.
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
