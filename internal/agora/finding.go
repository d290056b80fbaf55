package agora

import "errors"

// Severities of a Finding.
const (
	// SeverityError means that Agora refuses the token for this use.
	SeverityError = "error"
	// SeverityWarning means that the token works, or may work, but not as expected.
	SeverityWarning = "warning"
	// SeverityInfo is information without a problem.
	SeverityInfo = "info"
)

// Codes of findings. "Is another" means that the token differs from the Use.
const (
	FindingStaticKey   = "static_key"   // no token at all: nothing, or an App ID
	FindingCertificate = "certificate"  // an App Certificate where a token belongs
	FindingNotAToken   = "not_a_token"  // malformed
	FindingUnreadable  = "unreadable"   // opens a service that this package doesn't know
	FindingTooLong     = "too_long"     // for the web SDK
	FindingWhiteSpace  = "white_space"  // stands around the token
	FindingAppID       = "app_id"       // is another
	FindingService     = "service"      // is another than what is wanted
	FindingChannel     = "channel"      // is another
	FindingAnyChannel  = "any_channel"  // the channel is "*"
	FindingUser        = "user"         // is another
	FindingLiteralZero = "literal_zero" // the user is "0", which isn't any user
	FindingName        = "name"         // is against Agora's rules for names
	FindingSignature   = "signature"    // fits no certificate given
	FindingSigned      = "signed"       // the signature fits
	FindingUnverified  = "unverified"   // the signature can't be checked with what was given
	FindingPrivilege   = "privilege"    // to get in is missing
	FindingExpired     = "expired"      // is over
	FindingFuture      = "future"       // issued later than now
	FindingLifetime    = "lifetime"     // over 24 hours
	FindingSilentEnd   = "silent_end"   // the token ends before its privilege
	FindingCutOff      = "cut_off"      // a privilege ends before the token
	FindingPublishEnds = "publish_ends" // publishing ends before the call
	FindingAudience    = "audience"     // may not publish
	FindingGood        = "good"         // nothing against it
)

// Finding is one observation about a token, in words. Text states the observation and, unless it
// is obvious, what to do. It begins with the error number of Agora's native SDKs, if there is one.
// It contains no secret: only the token's App ID and names, quoted and shortened.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // "error", "warning" or "info"
	Text     string `json:"text"`
}

// Use describes what a token will be used for. Empty fields are not checked.
type Use struct {
	// Holder is the client that presents the token. The user "0" means an RTC client that joins
	// with uid 0, so that Agora chooses its uid.
	Holder
	// AppID is the App ID with which the client joins.
	AppID string
	// Service is the service to check. If it is zero, it is RTC if there is a Channel, and else
	// the token's first service.
	Service ServiceType
	// Publish means that the client will publish audio, video and data.
	Publish bool
}

// Report is the result of Explain. In JSON the findings are beside the token's fields.
type Report struct {
	*Token             // nil if it could not be read
	Findings []Finding `json:"findings"` // errors first, then warnings; at least one
}

// Err returns the first finding with SeverityError, or nil.
func (r Report) Err() error {
	for _, f := range r.Findings {
		if f.Severity == SeverityError {
			return errors.New(f.Text)
		}
	}
	return nil
}
