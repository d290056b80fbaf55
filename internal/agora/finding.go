package agora

import "errors"

// Severities of a Finding.
const (
	// SeverityError: Agora refuses the token in this use.
	SeverityError = "error"
	// SeverityWarning: it works, or may, but not as it looks.
	SeverityWarning = "warning"
	// SeverityInfo: good to know.
	SeverityInfo = "info"
)

// Codes of findings.
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

// Finding is one thing to be said of a token, in words for people. Text says
// what is so, and what to do where that isn't plain; it begins with the number
// that Agora's native SDKs report, where there is one. It holds nothing secret:
// of the token no more than its App ID and its names, quoted and cut.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // "error", "warning" or "info"
	Text     string `json:"text"`
}

// Use is what a token is to be used for. What is left empty is not asked
// about.
type Use struct {
	// Holder is who presents it. A user of "0" is an RTC client that leaves its
	// uid to Agora.
	Holder
	// AppID is the project's that the client joins with.
	AppID string
	// Service is RTC when there is a Channel, and else the token's first, if it
	// is zero.
	Service ServiceType
	// Publish says that the holder means to send audio, video and data.
	Publish bool
}

// Report is what a text turned out to be. In JSON its findings stand among the
// token's fields.
type Report struct {
	*Token             // nil if it could not be read
	Findings []Finding `json:"findings"` // errors first, then warnings; at least one
}

// Err is the first finding that is an error, or nil.
func (r Report) Err() error {
	for _, f := range r.Findings {
		if f.Severity == SeverityError {
			return errors.New(f.Text)
		}
	}
	return nil
}
