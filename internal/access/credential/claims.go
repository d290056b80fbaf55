package credential

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"refresher/internal/session"
)

const (
	// The clocks of the issuer and of this node may differ by leeway.
	leeway = 30 * time.Second
	// All lists of grants in a credential together have at most maxEntries entries.
	maxEntries = 1000
	maxName    = 255 // bytes
	// maxMaxTTL is the largest accepted value of the claim maxTtl, in seconds. It is far above 24 h, the longest
	// lifetime. Much larger values would overflow a time.Duration.
	maxMaxTTL = 1 << 31
)

// claims are the claims that this service reads. It ignores all others.
type claims struct {
	App       *string  `json:"app,omitzero"`
	Subject   string   `json:"sub,omitzero"`
	Scope     string   `json:"scope,omitzero"`
	Audience  audience `json:"aud,omitzero"`
	Issuer    any      `json:"iss,omitzero"` // any value is valid, unless an issuer is configured
	Expires   *moment  `json:"exp,omitzero"`
	NotBefore moment   `json:"nbf,omitzero"`
	IssuedAt  moment   `json:"iat,omitzero"`
	Grants    grants   `json:"grants,omitzero"`
}

type grants struct {
	RTC struct {
		Channels names          `json:"channels,omitempty"`
		UIDs     uids           `json:"uids,omitempty"`
		Accounts names          `json:"accounts,omitempty"`
		Roles    []session.Role `json:"roles,omitempty"`
	} `json:"rtc,omitzero"`
	RTM    users           `json:"rtm,omitzero"`
	Chat   users           `json:"chat,omitzero"`
	MaxTTL seconds         `json:"maxTtl,omitzero"`
	Until  until           `json:"until,omitzero"`
	Format *session.Format `json:"tokenFormat,omitzero"`
}

type (
	users struct {
		Users names `json:"users,omitempty"`
	}
	audience []string // in JSON: one string, or a list of strings
	names    []string
	uids     []string        // in JSON: numbers, decimal strings, and patterns such as "7*"
	moment   session.UnixSec // in JSON, the number may have a fraction, since some JWT libraries write one
	seconds  int64           // 0 if the claim is absent
	until    int64           // Unix seconds; 0 if the claim is absent
)

const (
	wantNames = "want a list of strings of 1 to 255 bytes"
	wantTime  = "want Unix seconds, not milliseconds"
)

// wants maps each claim to the text with which an error describes the claim's valid values.
var wants = map[string]string{
	"app":                 "want a string",
	"sub":                 "want a string of at most 255 bytes",
	"scope":               "want a string",
	"aud":                 "want a string or a list of them",
	"iss":                 "want a string",
	"exp":                 wantTime,
	"nbf":                 wantTime,
	"iat":                 wantTime,
	"grants":              "want an object",
	"grants.rtc":          "want an object",
	"grants.rtc.channels": wantNames,
	"grants.rtc.uids":     `want a list of uids, such as 1001, "1001", "10*" or "*"`,
	"grants.rtc.accounts": wantNames,
	"grants.rtc.roles":    `want a list of "publisher" and "subscriber"`,
	"grants.rtm":          "want an object",
	"grants.rtm.users":    wantNames,
	"grants.chat":         "want an object",
	"grants.chat.users":   wantNames,
	"grants.maxTtl":       "want whole seconds, 1 to 2147483648",
	"grants.until":        "want whole Unix seconds, not 0, and not milliseconds",
	"grants.tokenFormat":  `want "007", "006" or "007-single"`,
}

// errWrong means that a claim's value is invalid. The function `unmarshal` replaces errWrong by an error that names the
// claim and describes its valid values with the text in the map `wants`.
var errWrong = errors.New("wrong")

func wrong(claim string) error { return refuse(ReasonClaims, claim+": "+wants[claim]) }

// read decodes a value and returns errWrong if the function `good` rejects it.
func read[T any](d *jsontext.Decoder, into *T, good func(T) bool) error {
	err := json.UnmarshalDecode(d, into)
	if err == nil && !good(*into) {
		err = errWrong
	}
	return err
}

func (a *audience) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '[' {
		return json.UnmarshalDecode(d, (*[]string)(a))
	}
	*a = make(audience, 1)
	return json.UnmarshalDecode(d, &(*a)[0])
}

// MarshalJSONTo writes a single string, since Grant sets one audience.
func (a audience) MarshalJSONTo(e *jsontext.Encoder) error { return json.MarshalEncode(e, a[0]) }

func (n *names) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return read(d, (*[]string)(n), func(all []string) bool {
		return !slices.ContainsFunc(all, func(s string) bool { return s == "" || len(s) > maxName })
	})
}

func (s *seconds) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return read(d, (*int64)(s), func(n int64) bool { return n >= 1 && n <= maxMaxTTL })
}

func (u *until) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return read(d, (*int64)(u), func(n int64) bool { return n != 0 && session.UnixSec(n).Check() == nil })
}

func (m *moment) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var s float64
	err := read(d, &s, func(s float64) bool { return s >= 0 && s <= float64(session.MaxUnix) })
	*m = moment(s)
	return err
}

func (m moment) time() time.Time { return session.UnixSec(m).Time() }

func (u *uids) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var values []jsontext.Value
	return read(d, &values, func([]jsontext.Value) bool {
		for _, v := range values {
			text, digits := string(v), string(v)
			if v.Kind() == '"' {
				unquoted, _ := jsontext.AppendUnquote(nil, v) // this cannot fail, since v is valid JSON
				text = string(unquoted)
				digits = strings.TrimSuffix(text, "*")
			}
			if n, err := strconv.ParseUint(digits, 10, 32); text != "*" && (err != nil || strconv.FormatUint(n, 10) != digits) {
				return false
			}
			*u = append(*u, text)
		}
		return true
	})
}

// noNull refuses null as the value of a claim, except for an issuer that is not checked. The
// decoder itself refuses duplicate names and invalid UTF-8, and matches names case-sensitively.
var noNull = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, into any) error {
	if _, anything := into.(*any); d.PeekKind() == 'n' && !anything {
		return errWrong
	}
	return errors.ErrUnsupported // this error makes the decoder use the rules of the value's type
}))

// unmarshal decodes a JSON object of a credential. Its error is a *RefusedError.
func unmarshal(text []byte, into any) error {
	err := json.Unmarshal(text, into, noNull)
	semantic, _ := errors.AsType[*json.SemanticError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return refuse(ReasonClaims, "a name is given twice")
	case semantic == nil || semantic.JSONPointer == "":
		return refuse(ReasonMalformed, "want a JSON object")
	}
	place := dotted(semantic.JSONPointer)
	for wants[place] == "" && place != "" { // an invalid entry of a list is reported as an invalid list
		place = place[:max(0, strings.LastIndexByte(place, '.'))]
	}
	return wrong(place)
}

func dotted(p jsontext.Pointer) string {
	return strings.ReplaceAll(strings.TrimPrefix(string(p), "/"), "/", ".")
}

// checkCase refuses a name that differs from a claim's name only in its case. For example, a back end that writes
// maxTTL instead of maxTtl wants to limit a grant. If the service ignored that name, the grant would be unlimited.
func checkCase(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	for d.PeekKind() != 0 {
		_, _ = d.ReadToken()                                                  // this cannot fail, since unmarshal has decoded the text
		if kind, n := d.StackIndex(d.StackDepth()); kind != '{' || n%2 == 0 { // only the names of members are checked, not their values
			continue
		}
		place := dotted(d.StackPointer())
		for claim := range wants {
			if place != claim && strings.EqualFold(place, claim) {
				return refuse(ReasonClaims, claim+": is written in another case")
			}
		}
	}
	return nil
}

// rules are the values that a project requires in some claims. An empty audience or issuer is not checked.
type rules struct{ app, audience, issuer string }

// caller decodes and checks the claims of a credential whose signature is valid. Its error is a
// *RefusedError.
func (r *rules) caller(text []byte) (session.Caller, error) {
	var c claims
	err := unmarshal(text, &c)
	if err == nil {
		err = checkCase(text)
	}
	if err == nil {
		err = r.check(&c)
	}
	caller := session.Caller{App: r.app, Subject: c.Subject}
	if err == nil {
		caller.ExpiresAt = session.UnixSec(*c.Expires)
		caller.Admin = slices.Contains(strings.Split(c.Scope, " "), "admin")
		caller.Grant, err = c.Grants.grant()
	}
	if err != nil {
		return session.Caller{}, err
	}
	return caller, nil
}

// check checks all claims except the grants.
func (r *rules) check(c *claims) error {
	now := time.Now()
	issuer, isText := c.Issuer.(string)
	switch {
	case c.App != nil && *c.App != r.app:
		return refuse(ReasonApp, "names another project")
	case c.Expires == nil:
		return refuse(ReasonNoExpiry, "")
	case len(c.Subject) > maxName:
		return wrong("sub")
	case !now.Before(c.Expires.time().Add(leeway)):
		return refuse(ReasonExpired, "")
	case now.Before(c.NotBefore.time().Add(-leeway)):
		return refuse(ReasonNotYetValid, "")
	case now.Before(c.IssuedAt.time().Add(-leeway)):
		return refuse(ReasonIssuedAhead, "")
	case r.audience != "" && !slices.Contains(c.Audience, r.audience):
		return refuse(ReasonAudience, "does not contain --jwt-audience")
	case r.issuer == "" || issuer == r.issuer:
		return nil
	case c.Issuer != nil && !isText:
		return wrong("iss")
	default:
		return refuse(ReasonIssuer, "is missing, or is not --jwt-issuer")
	}
}

// grant converts the claim to a session.Grant. An absent part of the claim grants nothing.
func (g *grants) grant() (session.Grant, error) {
	left := maxEntries - len(g.RTC.Roles)
	for _, list := range []struct {
		claim string
		n     int
	}{
		{"grants.rtc.channels", len(g.RTC.Channels)},
		{"grants.rtc.uids", len(g.RTC.UIDs)},
		{"grants.rtc.accounts", len(g.RTC.Accounts)},
		{"grants.rtm.users", len(g.RTM.Users)},
		{"grants.chat.users", len(g.Chat.Users)},
	} {
		if left -= list.n; left < 0 {
			return session.Grant{}, refuse(ReasonClaims, fmt.Sprintf("%s: want at most %d entries in all", list.claim, maxEntries))
		}
	}
	return session.Grant{
		Format: g.Format, Channels: g.RTC.Channels, UIDs: g.RTC.UIDs, Accounts: g.RTC.Accounts, Roles: g.RTC.Roles,
		RTMUsers: g.RTM.Users, Chat: g.Chat.Users, MaxTTL: time.Duration(g.MaxTTL) * time.Second, Until: session.UnixSec(g.Until),
	}, nil
}
