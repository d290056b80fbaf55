package agora

import (
	"encoding/hex"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"refresher/internal/session"
)

// These are Agora's limits. Lengths are in bytes.
const (
	maxChannel  = 64
	maxAccount  = 255
	maxRTMUser  = 64
	maxChatUser = 64

	// noName is the user id that apps send for a client without a name.
	noName = "0"

	// maxLifetime is the longest lifetime of a token, in seconds.
	maxLifetime = session.UnixSec(session.MaxLifetime / time.Second)
	// hexDigits is the length of an App ID and of an App Certificate.
	hexDigits = 32
)

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	// Channels, user accounts and RTM user ids consist of letters, digits and rtcPunctuation.
	// (Some SDKs accept less in an RTM user id: the 2.x web SDK refuses '.'.)
	rtcPunctuation = " !#$%&()+-:;<=.>?@[]^_{|}~,"
	// Chat user ids consist of letters, digits and chatPunctuation. Chat's SDKs convert them to
	// lower case, so both cases are accepted here and signed unchanged.
	chatPunctuation = "_-."
)

// byteSet is a set of bytes that a name may contain, and its description for errors.
type byteSet struct {
	has  [256]bool
	text string
}

var (
	rtcBytes  = newByteSet(rtcPunctuation, "a-z A-Z 0-9, space and !#$%&()+-:;<=.>?@[]^_{|}~,")
	chatBytes = newByteSet(chatPunctuation, "a-z A-Z 0-9 and _-.")
)

func newByteSet(punctuation, text string) *byteSet {
	s := &byteSet{text: text}
	for _, b := range []byte(letters + punctuation) {
		s.has[b] = true
	}
	return s
}

// Validate checks id by Agora's rules; id must have at least one service. The error is a
// *session.Error with CodeBadRequest whose message begins with the field's name in JSON. The
// Minter refuses whatever Validate refuses.
func Validate(id session.Identity) error {
	if id.RTC == nil && id.RTM == nil && id.Chat == nil {
		return badRequest("rtc, rtm, chat: want at least one of them")
	}
	if id.RTC != nil {
		if err := ValidateRTC(*id.RTC); err != nil {
			return err
		}
	}
	if id.RTM != nil {
		if err := ValidateRTM(*id.RTM); err != nil {
			return err
		}
	}
	if id.Chat != nil {
		return ValidateChat(*id.Chat)
	}
	return nil
}

// ValidateRTC checks the channel and the user. The channel has 1 to 64 bytes of the characters that Agora allows, or is
// "*", the wildcard. The user has either a uid, or an account of at most 255 bytes of the same characters, but not
// both, since a token can name only one of them. The account "0" is refused: apps send it if they have no name, but a
// token for the account "0" does not work for a user who joins with uid 0. An account that consists of a uid's digits
// is allowed, since Agora's token for that account is the same as the token for the uid.
func ValidateRTC(r session.RTC) error {
	if r.Channel != session.AnyChannel {
		if err := checkName("rtc.channel", r.Channel, maxChannel, rtcBytes); err != nil {
			return err
		}
	}
	if r.Account != "" {
		if r.UID != 0 {
			return badRequest("rtc.account: given along with rtc.uid; want one of them")
		}
		if err := checkName("rtc.account", r.Account, maxAccount, rtcBytes); err != nil {
			return err
		}
		if r.Account == noName {
			return badRequest(`rtc.account: is "0", which apps send for no name; want a user's account, or uid 0 for a token that any user may use`)
		}
	}
	if r.Role > session.Publisher {
		return badRequest(`rtc.role: want "publisher" or "subscriber"`)
	}
	return nil
}

// ValidateRTM checks the user id: 1 to 64 bytes of the characters that Agora allows. It refuses a leading '_', and the
// ids "null" and "0", which apps send for a client without a name.
func ValidateRTM(r session.RTM) error {
	if err := checkName("rtm.userId", r.UserID, maxRTMUser, rtcBytes); err != nil {
		return err
	}
	switch {
	case r.UserID[0] == '_':
		return badRequest("rtm.userId: begins with '_'; want any other allowed character first")
	case r.UserID == "null", r.UserID == noName:
		return badRequest(`rtm.userId: is %q, which apps send for no name; want a user's name`, r.UserID)
	}
	return nil
}

// ValidateChat checks the user id: 1 to 64 bytes of a-z, A-Z, 0-9, '_', '-' and '.', the characters that Chat allows in
// user ids. It refuses an empty id, for which [Minter.MintChat] returns Chat's app token.
func ValidateChat(c session.Chat) error {
	return checkName("chat.userId", c.UserID, maxChatUser, chatBytes)
}

func checkName(field, name string, limit int, set *byteSet) error {
	if name == "" {
		return badRequest("%s: empty; want 1 to %d bytes", field, limit)
	}
	if len(name) > limit {
		return badRequest("%s: %d bytes long; want 1 to %d", field, len(name), limit)
	}
	for i := range len(name) {
		if !set.has[name[i]] {
			// The error quotes at most one character of the name.
			char, _ := utf8.DecodeRuneInString(name[i:])
			return badRequest("%s: %q at byte %d is not allowed; want only %s", field, char, i, set.text)
		}
	}
	return nil
}

// CheckCertificate returns an error if value is not a well-formed App Certificate. The error does not contain value.
func CheckCertificate(value string) error { return checkHex(value) }

// CheckAppID returns an error if value is not a well-formed App ID.
func CheckAppID(value string) error { return checkHex(value) }

// checkHex checks an App ID or App Certificate. The error says only how long the value is.
func checkHex(value string) error {
	if len(value) != hexDigits {
		return fmt.Errorf("%d characters long; want %d hex digits", len(value), hexDigits)
	}
	if _, err := hex.DecodeString(value); err != nil { // the error of package hex is not returned, since it quotes a character of the value
		return fmt.Errorf("not hexadecimal; want %d hex digits", hexDigits)
	}
	return nil
}

// checkTimes checks a token's times. A wrong lifetime is the caller's mistake, so the error is a
// *session.Error. A wrong issue time comes from the node's own clock, so the error is not a
// *session.Error.
func checkTimes(issuedAt, expiresAt session.UnixSec) error {
	// A 006 token stores issuedAt plus maxLifetime in 32 bits, so a later issue time does not fit.
	if issuedAt < 1 || issuedAt > math.MaxUint32-maxLifetime {
		return fmt.Errorf("agora: issue time %d does not fit in a token", issuedAt)
	}
	if expiresAt <= issuedAt {
		return badRequest("ttl: zero or less; want 1 to %d seconds", maxLifetime)
	}
	if expiresAt-issuedAt > maxLifetime {
		return badRequest("ttl: over 24 hours; want 1 to %d seconds", maxLifetime)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return session.Errorf(session.CodeBadRequest, format, args...)
}
