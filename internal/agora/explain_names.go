package agora

import (
	"errors"
	"hash/crc32"
	"strconv"
	"strings"

	"refresher/internal/session"
)

// leftToAgora is the user of an RTC client that joins with uid 0, so that Agora chooses its uid.
const leftToAgora = noName

// names compares the channel and the user in a token with those of the client that uses it. It returns the channel and
// the user with which the signature must be checked. The result `known` is false if the signature cannot be checked:
// the signature of a 006 token covers the channel and the user, which the token does not contain, so the client must
// give them.
func (e *examination) names(t *Token, s *Service) (holder Holder, known bool) {
	if t.Version == V006 {
		return e.names006(t, s)
	}
	if s.Type == ServiceRTC && s.Channel != e.use.Channel {
		switch {
		case s.Channel == "*":
			e.warn(FindingAnyChannel, `for the channel "*": Agora's wildcard for all channels, if that was meant`)
		case e.use.Channel != "":
			e.fail(FindingChannel, "110 invalid token: it is for channel %q, not %q%s", cut(s.Channel), cut(e.use.Channel), nearly(s.Channel, e.use.Channel))
		}
	}
	e.user(s)
	e.rules(s)
	return Holder{}, true
}

// rules adds a warning for names that break Agora's rules.
func (e *examination) rules(s *Service) {
	var err error
	switch {
	case s.Type == ServiceRTC && s.User != leftToAgora: // the method literalZero reports the user "0"
		err = ValidateRTC(session.RTC{Channel: s.Channel, Account: s.User})
	case s.Type == ServiceRTM:
		err = ValidateRTM(session.RTM{UserID: s.User})
	case s.Type == ServiceChat && s.User != "": // Chat's app token has an empty user
		err = ValidateChat(session.Chat{UserID: s.User})
	}
	if refusal, ok := errors.AsType[*session.Error](err); ok {
		e.warn(FindingName, "against the rules for names, so that it may be refused or meant for nobody: %s", refusal.Message)
	}
}

// user compares the user in a 007 token with the client's user. In a token, an empty user means any RTC user, or Chat's
// app token.
func (e *examination) user(s *Service) {
	want := e.use.User
	switch {
	case s.Type == ServiceRTC && s.User == leftToAgora:
		e.literalZero(want)
	case want == "" || s.User == "" || want == s.User:
	case s.Type == ServiceRTC && want == leftToAgora:
		e.fail(FindingUser, "110 invalid token: it is for user %q, and a client that joins with uid 0 is given another; join as %[1]q, or make a token for uid 0", cut(s.User))
	default:
		e.fail(FindingUser, "110 invalid token: it is for user %q, not %q%s", cut(s.User), cut(want), nearly(s.User, want))
	}
}

// literalZero adds a finding about a token for a user named "0". Some token servers write uid 0 as "0", but only a
// token with an empty name is valid for every user.
func (e *examination) literalZero(want string) {
	const text = `it is for a user named "0", not for any user as a token for uid 0 would be; its maker wrote the uid out`
	if want == "" {
		e.warn(FindingLiteralZero, "%s", text)
		return
	}
	e.fail(FindingLiteralZero, "110 invalid token: %s", text)
}

// names006 is the method `names` for a 006 token, which contains only checksums of its names.
func (e *examination) names006(t *Token, s *Service) (holder Holder, known bool) {
	channel, user := e.use.Channel, e.use.User
	if s.Type == ServiceRTM {
		switch {
		case user == "":
			e.unnamed("user id")
			return Holder{}, false
		case sum(user) != t.Checksums.Channel:
			e.fail(FindingUser, "110 invalid token: it is for another user than %q: the checksum in it does not fit", cut(user))
			return Holder{}, false
		}
		e.rules(&Service{Type: ServiceRTM, User: user})
		return Holder{User: user}, true
	}
	known = true
	switch {
	case channel == "":
		known = false
	case sum(channel) != t.Checksums.Channel:
		e.fail(FindingChannel, "110 invalid token: it is for another channel than %q: the checksum in it does not fit", cut(channel))
		known = false
	}
	switch {
	case t.Checksums.User == 0: // any user
		user = ""
	case t.Checksums.User == sum(leftToAgora):
		e.literalZero(user)
		user = leftToAgora
	case user == "":
		known = false
	case sum(user) != t.Checksums.User:
		e.fail(FindingUser, "110 invalid token: it is for another user than %q: the checksum in it does not fit", cut(user))
		known = false
	}
	if !known {
		if !e.failed() {
			e.unnamed("channel and user")
		}
		return Holder{}, false
	}
	e.rules(&Service{Type: ServiceRTC, Channel: channel, User: user})
	return Holder{Channel: channel, User: user}, true
}

func (e *examination) unnamed(what string) {
	e.warn(FindingUnverified, "signature not checked: a 006 token signs names that it does not hold; give the %s that it is for", what)
}

func sum(name string) uint32 { return crc32.ChecksumIEEE([]byte(name)) }

// nearly describes the difference between two names that look alike or are the same number. For other names it returns
// an empty string.
func nearly(a, b string) string {
	switch {
	case strings.TrimSpace(a) == strings.TrimSpace(b):
		return ": white space differs"
	case strings.EqualFold(a, b):
		return ": upper and lower case differ"
	case sameUID(a, b) || sameUID(b, a):
		return ": the same 32 bits, once read as a signed number; uids are unsigned"
	}
	return ""
}

// sameUID reports whether the negative number a is the uid b as a signed 32-bit integer.
func sameUID(a, b string) bool {
	n, err := strconv.ParseInt(a, 10, 32)
	return err == nil && n < 0 && strconv.FormatUint(uint64(uint32(n)), 10) == b
}
