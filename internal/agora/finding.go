package agora

import "errors"

// These are the severities of a Finding.
const (
	// SeverityError means that Agora refuses the token for this use.
	SeverityError = "error"
	// SeverityWarning means that the token works, or may work, but not as expected.
	SeverityWarning = "warning"
	// SeverityInfo means that the finding is no problem.
	SeverityInfo = "info"
)

// These are the codes of findings. FindingAppID, FindingService, FindingChannel and FindingUser mean
// that the token is for something else than the Use says.
const (
	FindingStaticKey   = "static_key"  // the text is empty or an App ID, not a token
	FindingCertificate = "certificate" // the text is an App Certificate, not a token
	FindingNotAToken   = "not_a_token" // the text is malformed
	FindingUnreadable  = "unreadable"  // the token has a service that this package does not know
	FindingTooLong     = "too_long"    // the token is too long for the web SDK
	FindingWhiteSpace  = "white_space" // there is white space around the token
	FindingAppID       = "app_id"      // the token's App ID is not the client's
	FindingService     = "service"
	FindingChannel     = "channel"      // the token's channel is not the client's
	FindingAnyChannel  = "any_channel"  // the token's channel is "*"
	FindingUser        = "user"         // the token's user is not the client
	FindingLiteralZero = "literal_zero" // the token's user is "0", which matches no user
	FindingName        = "name"         // a name breaks Agora's rules
	FindingSignature   = "signature"    // none of the given certificates signed the token
	FindingSigned      = "signed"       // the signature is valid
	FindingUnverified  = "unverified"   // the signature cannot be checked with the given names and certificates
	FindingPrivilege   = "privilege"    // the privilege to join or log in is missing
	FindingExpired     = "expired"      // the token has expired
	FindingFuture      = "future"       // the issue time is in the future
	FindingLifetime    = "lifetime"     // the lifetime is over 24 hours
	FindingSilentEnd   = "silent_end"   // the token expires before its privilege, so SDKs call no callback
	FindingCutOff      = "cut_off"      // a privilege expires before the token
	FindingPublishEnds = "publish_ends" // the privileges to publish expire before the privilege to join
	FindingAudience    = "audience"     // the holder may not publish
	FindingGood        = "good"         // no problem was found
)

// Finding is one observation about a token, in words. Text states the observation and, unless it is
// obvious, what to do. Text begins with the error number of Agora's native SDKs, if there is one.
// Text contains no secret: only the token's App ID and names, quoted and shortened.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // one of the Severity constants
	Text     string `json:"text"`
}

// Use describes what a token will be used for. Empty fields are not checked.
type Use struct {
	// Holder is the client that presents the token. The user "0" means an RTC client that joins
	// with uid 0, so that Agora chooses its uid.
	Holder
	// AppID is the App ID with which the client joins.
	AppID string
	// Service is the service to check. If it is zero and there is a Channel, the service is RTC;
	// if it is zero without a Channel, it is the token's first service.
	Service ServiceType
	// Publish means that the client will publish audio, video and data.
	Publish bool
}

// Report is the result of Explain. Its JSON is one object with the token's fields and the findings.
type Report struct {
	*Token             // nil if the token could not be read
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
