package agora

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"refresher/internal/session"
)

const (
	wantRTCBytes  = "want only a-z A-Z 0-9, space and !#$%&()+-:;<=.>?@[]^_{|}~,"
	wantChatBytes = "want only a-z A-Z 0-9 and _-."
)

func TestValidate(t *testing.T) {
	rtc := func(r session.RTC) session.Identity { return session.Identity{RTC: &r} }
	channel := func(name string) session.Identity { return rtc(session.RTC{Channel: name}) }
	account := func(name string) session.Identity { return rtc(session.RTC{Channel: "c", Account: name}) }
	rtm := func(user string) session.Identity { return session.Identity{RTM: &session.RTM{UserID: user}} }
	chat := func(user string) session.Identity { return session.Identity{Chat: &session.Chat{UserID: user}} }
	long := strings.Repeat

	for _, c := range []struct {
		name string
		id   session.Identity
		want string // the error's message; empty if the identity is valid
	}{
		{"no service", session.Identity{}, "rtc, rtm, chat: want at least one of them"},
		{"every service", everyService, ""},
		{"second service wrong", session.Identity{RTC: everyService.RTC, RTM: &session.RTM{}}, "rtm.userId: empty; want 1 to 64 bytes"},
		{"third service wrong", session.Identity{RTC: everyService.RTC, Chat: &session.Chat{}}, "chat.userId: empty; want 1 to 64 bytes"},

		{"channel of 64", channel(long("a", 64)), ""},
		{"channel of 65", channel(long("a", 65)), "rtc.channel: 65 bytes long; want 1 to 64"},
		{"channel with slash", channel("a/b"), `rtc.channel: '/' at byte 1 is not allowed; ` + wantRTCBytes},
		{"channel with two-byte letter", channel("café"), `rtc.channel: 'é' at byte 3 is not allowed; ` + wantRTCBytes},
		{"channel of no UTF-8", channel("a\xff"), `rtc.channel: '�' at byte 1 is not allowed; ` + wantRTCBytes},

		{"wildcard channel", channel("*"), ""},
		{"channel with a star", channel("daily-*"), `rtc.channel: '*' at byte 6 is not allowed; ` + wantRTCBytes},
		{"two stars", channel("**"), `rtc.channel: '*' at byte 0 is not allowed; ` + wantRTCBytes},

		{"account of 255", account(long("a", 255)), ""},
		{"account of 256", account(long("a", 256)), "rtc.account: 256 bytes long; want 1 to 255"},
		{"account 0", account("0"), `rtc.account: is "0", which apps send for no name; want a user's account, or uid 0 for a token that any user may use`},
		{
			"uid and account", rtc(session.RTC{Channel: "c", UID: 1, Account: "ana"}),
			"rtc.account: given along with rtc.uid; want one of them",
		},
		{"unknown role", rtc(session.RTC{Channel: "c", Role: 2}), `rtc.role: want "publisher" or "subscriber"`},

		{"RTM user of 64", rtm(long("a", 64)), ""},
		{"RTM user of 65", rtm(long("a", 65)), "rtm.userId: 65 bytes long; want 1 to 64"},
		{"RTM user _x", rtm("_x"), "rtm.userId: begins with '_'; want any other allowed character first"},
		{"RTM user null", rtm("null"), `rtm.userId: is "null", which apps send for no name; want a user's name`},
		{"RTM user 0", rtm("0"), `rtm.userId: is "0", which apps send for no name; want a user's name`},

		{"Chat user of 64", chat(long("a", 64)), ""},
		{"Chat user of 65", chat(long("a", 65)), "chat.userId: 65 bytes long; want 1 to 64"},
		{"Chat user 0", chat("0"), ""},
		{"Chat user null", chat("null"), ""},
		{"Chat user with space", chat("ana b"), `chat.userId: ' ' at byte 3 is not allowed; ` + wantChatBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Validate(c.id)
			_, mintErr := newMinter(t, V007).Mint(c.id, now, now+60)
			if c.want == "" {
				if err != nil || mintErr != nil {
					t.Errorf("Validate: %v, Mint: %v", err, mintErr)
				}
				return
			}
			wantBadRequest(t, err, c.want)
			wantBadRequest(t, mintErr, c.want)
		})
	}
}

func TestAllowedBytes(t *testing.T) {
	const allowedChat = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	for b := range 256 {
		name := "x" + string([]byte{byte(b)})
		inRTC := strings.IndexByte(allowedRTC, byte(b)) >= 0
		inChat := strings.IndexByte(allowedChat, byte(b)) >= 0
		for field, c := range map[string]struct {
			err  error
			want bool
		}{
			"channel": {ValidateRTC(session.RTC{Channel: name}), inRTC},
			"account": {ValidateRTC(session.RTC{Channel: "c", Account: name}), inRTC},
			"rtm":     {ValidateRTM(session.RTM{UserID: name}), inRTC},
			"chat":    {ValidateChat(session.Chat{UserID: name}), inChat},
		} {
			if (c.err == nil) != c.want {
				t.Errorf("%s with byte %#x: %v, want allowed: %t", field, b, c.err, c.want)
			}
		}
	}
}

const (
	tooShort = "ttl: zero or less; want 1 to 86400 seconds"
	tooLong  = "ttl: over 24 hours; want 1 to 86400 seconds"
)

func TestLifetime(t *testing.T) {
	const latest = math.MaxUint32 - 86400
	m := newMinter(t, V007)
	for _, c := range []struct {
		from, to session.UnixSec
		want     string
	}{
		{1, 2, ""},
		{now, now + 86400, ""},
		{latest, latest + 86400, ""},
		{now, now, tooShort},
		{now, math.MinInt64, tooShort},
		{now, now + 86401, tooLong},
		{now, math.MaxInt64, tooLong},
	} {
		if _, err := m.Mint(everyService, c.from, c.to); c.want != "" {
			wantBadRequest(t, err, c.want)
		} else if err != nil {
			t.Errorf("%d to %d: %v", c.from, c.to, err)
		}
	}
	// A wrong clock of the node is not the caller's mistake, so the error is not a *session.Error.
	for _, from := range []session.UnixSec{math.MinInt64, 0, latest + 1} {
		_, err := m.Mint(everyService, from, from+1)
		if refusal := new(session.Error); err == nil || errors.As(err, &refusal) {
			t.Errorf("issue time %d: got %v, want an error that is no refusal", from, err)
		}
	}
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	m := newMinter(t, V007)
	_, err := m.MintStream(session.RTC{Channel: "a/b", Account: "ana"}, session.RTM{UserID: "ana"}, now, now+60)
	wantBadRequest(t, err, "rtc.channel: '/' at byte 1 is not allowed; "+wantRTCBytes)
	_, err = m.MintStream(session.RTC{Channel: "c", Account: "ana"}, session.RTM{}, now, now+60)
	wantBadRequest(t, err, "rtm.userId: empty; want 1 to 64 bytes")
	_, err = m.MintChat(session.Chat{UserID: "a b"}, now, now+60)
	wantBadRequest(t, err, "chat.userId: ' ' at byte 1 is not allowed; "+wantChatBytes)
	_, err = m.MintStream(session.RTC{Channel: "c", Account: "ana"}, session.RTM{UserID: "ana"}, now, now)
	wantBadRequest(t, err, tooShort)
	_, err = m.MintChat(session.Chat{}, now, now+86401)
	wantBadRequest(t, err, tooLong)
	// Agora documents the wildcard channel only for 007, so a 006 token for it is refused.
	_, err = newMinter(t, V006).mintRTC(session.RTC{Channel: "*", UID: 7}, now, now+60)
	wantBadRequest(t, err, `rtc.channel: is "*", which only tokens of version 007 may contain`)
}

// Explain reports no problem if and only if Validate accepts the names, so that tokens of other
// builders are checked by the same rules.
func TestExplainKnowsTheNamesThatAreRefused(t *testing.T) {
	for _, name := range []string{"ana", "123", "0", "00", "null", "_x", "a/b", "*", strings.Repeat("x", 64), strings.Repeat("x", 65)} {
		for _, c := range []struct {
			service Service
			refused error
		}{
			{Service{Type: ServiceRTC, Channel: name, User: "7"}, ValidateRTC(session.RTC{Channel: name, UID: 7})},
			{Service{Type: ServiceRTC, Channel: "c", User: name}, ValidateRTC(session.RTC{Channel: "c", Account: name})},
			{Service{Type: ServiceRTM, User: name}, ValidateRTM(session.RTM{UserID: name})},
			{Service{Type: ServiceChat, User: name}, ValidateChat(session.Chat{UserID: name})},
		} {
			c.service.Privileges = []Privilege{{ID: 1, ExpiresAt: now + 60}}
			token := sign007(&Token{IssuedAt: now, ValidUntil: now + 60, Services: []Service{c.service}})
			report := Explain(token, Use{}, []string{certificate}, now.Time())
			warned := slices.ContainsFunc(report.Findings, func(f Finding) bool {
				return f.Code == FindingName || f.Code == FindingLiteralZero
			})
			if warned != (c.refused != nil) {
				t.Errorf("%+v: Validate says %v, Explain %+v", c.service, c.refused, report.Findings)
			}
		}
	}
}
