package session

import "cmp"

// Format is the token format of a session. It is chosen at the join and never changes, since the
// client's SDK accepts no other.
type Format uint8

const (
	// Format007 gives one token of version 007 for each service.
	Format007 Format = iota
	// Format006 gives tokens of version 006, for old SDKs. Chat tokens are of version 007, since
	// 006 has none for Chat.
	Format006
	// FormatSingle gives one token of version 007 for RTC and RTM together, and a separate one for
	// Chat. A session with only one of RTC and RTM gets an ordinary 007 token for it. Version 006
	// has no such format, since a 006 token is for one service.
	FormatSingle
)

// formatWords are the formats' names in messages.
var formatWords = [...]string{Format007: "007", Format006: "006", FormatSingle: "007-single"}

// String returns the format's name in messages.
func (f Format) String() string { return formatWords[f] }

// MarshalText implements encoding.TextMarshaler.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Format) UnmarshalText(text []byte) error {
	for known, word := range formatWords {
		if string(text) == word {
			*f = Format(known)
			return nil
		}
	}
	return Errorf(CodeBadRequest, `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`)
}

// Format returns the token format for a caller. The format in the request (wanted) comes first,
// then the credential's, then the operator's; `wanted` is nil if the request names no format. The
// error is an *Error. Format refuses FormatSingle unless the request is for both RTC and RTM.
// Format refuses Format006 unless the credential grants that format, since a 006 token can be
// forged: its signature covers channel and user as one string, so a token for channel "a1" and user
// "2" also works for channel "a" and user "12", which the credential may not grant.
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
