package credential

import (
	"cmp"
	"time"

	"refresher/internal/session"
)

// Reason names the cause of a refusal in the log and in a metric label.
// docs/start/troubleshooting.md has the remedy for each.
type Reason string

const (
	ReasonMissing         Reason = "missing"          // the request has no credential
	ReasonTooLong         Reason = "too_long"         // the credential is longer than MaxCredential
	ReasonMalformed       Reason = "malformed"        // the credential is not a JWT
	ReasonCriticalHeader  Reason = "critical_header"  // the header lists extensions in crit; this service supports none
	ReasonAlgorithm       Reason = "algorithm"        // the project has no key for the credential's algorithm
	ReasonUnknownKey      Reason = "unknown_key"      // the credential names a key that is not in the project's key set
	ReasonKeysUnavailable Reason = "keys_unavailable" // the key set could not be fetched
	ReasonSignature       Reason = "signature"        // no key of the project verifies the signature
	ReasonApp             Reason = "app"              // the credential names no project of this service
	ReasonClaims          Reason = "claims"           // a claim has the wrong type or value, or its name the wrong case
	ReasonNoExpiry        Reason = "no_expiry"        // exp is missing
	ReasonExpired         Reason = "expired"          // exp has passed
	ReasonNotYetValid     Reason = "not_yet_valid"    // nbf is in the future
	ReasonIssuedAhead     Reason = "issued_ahead"     // iat is in the future
	ReasonAudience        Reason = "audience"         // aud does not contain --jwt-audience
	ReasonIssuer          Reason = "issuer"           // iss is not --jwt-issuer
)

var reasons = []Reason{
	ReasonMissing, ReasonTooLong, ReasonMalformed, ReasonCriticalHeader, ReasonAlgorithm, ReasonUnknownKey,
	ReasonKeysUnavailable, ReasonSignature, ReasonApp, ReasonClaims, ReasonNoExpiry, ReasonExpired,
	ReasonNotYetValid, ReasonIssuedAhead, ReasonAudience, ReasonIssuer,
}

// awayRetry is how long clients wait before they retry while a key set cannot be fetched.
const awayRetry = 2 * time.Second

// A caller whose credential is refused gets one of these errors, or an error with CodeUnavailable.
var (
	errMissing = session.Errorf(session.CodeUnauthenticated, "a credential is required")
	errRefused = session.Errorf(session.CodeUnauthenticated, "the credential is not valid here, or has expired; fetch a new one")
)

// RefusedError is the error of Verify for a refused credential. Error returns the text that the
// caller may see; Reason and Detail are for the log.
type RefusedError struct {
	Reason Reason
	// Detail names the claim or part at fault; it may be empty. It contains no value from the
	// credential.
	Detail string

	retryAfter time.Duration // set only with ReasonKeysUnavailable; 0 means awayRetry
}

func (r *RefusedError) Error() string { return r.Unwrap().Error() }

// Unwrap returns the *session.Error for the caller.
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
