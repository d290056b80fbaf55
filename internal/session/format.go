package session

import "cmp"

// Format is the form of a session's tokens. It is chosen when the session is
// joined and never changes, since the client's SDK takes that form.
type Format uint8

const (
	// Format007 is one token of version 007 for each service.
	Format007 Format = iota
	// Format006 is version 006, for old SDKs. Chat has no 006 form, so its tokens
	// are 007.
	Format006
	// FormatSingle is one token of version 007 that opens RTC and RTM together.
	// Chat's is a token of its own, and so is that of RTC or RTM alone. 006 has
	// no such form: its tokens hold one service.
	FormatSingle
)

// formatWords are the formats' words on the wire.
var formatWords = [...]string{Format007: "007", Format006: "006", FormatSingle: "007-single"}

// String returns the format's word on the wire.
func (f Format) String() string { return formatWords[f] }

// MarshalText writes the format's word.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a format's word.
func (f *Format) UnmarshalText(text []byte) error {
	for known, word := range formatWords {
		if string(text) == word {
			*f = Format(known)
			return nil
		}
	}
	return Errorf(CodeBadRequest, `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`)
}

// Format returns the form of a caller's tokens: the wanted one, else the credential's,
// else the operator's. wanted is nil if the request names none. It refuses, with an
// *Error, a request for FormatSingle that does not ask for both RTC and RTM, and one for
// Format006 by itself: what 006 signs is the channel and the user in one piece, so the
// token for channel "a1" and user "2" can be made into one for channel "a" and user "12",
// which the grant may not cover.
func (p *Policy) Format(wanted *Format, g *Grant, id Identity) (Format, error) {
	granted := *cmp.Or(g.Format, &p.DefaultFormat)
	if wanted == nil {
		return granted, nil
	}
	switch {
	case *wanted == FormatSingle && (id.RTC == nil || id.RTM == nil):
		return 0, Errorf(CodeBadRequest, "tokenFormat: 007-single is one token for RTC and RTM; ask for both, or leave it out")
	case *wanted == Format006 && granted != Format006 && !g.All:
		return 0, Errorf(CodeForbidden, `tokenFormat: the credential does not grant 006; it needs grants.tokenFormat "006"`)
	}
	return *wanted, nil
}
