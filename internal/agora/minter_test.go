package agora

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"refresher/internal/session"
)

func TestNewMinterErrors(t *testing.T) {
	for name, c := range map[string]struct {
		appID, certificate string
		want               string
	}{
		"no app id":         {"", certificate, "app-id: 0 characters long; want 32 hex digits"},
		"long app id":       {appID + "0", certificate, "app-id: 33 characters long; want 32 hex digits"},
		"app id not hex":    {"g" + appID[1:], certificate, "app-id: not hexadecimal; want 32 hex digits"},
		"no certificate":    {appID, "", "app-certificate: 0 characters long; want 32 hex digits"},
		"short certificate": {appID, certificate[1:], "app-certificate: 31 characters long; want 32 hex digits"},
		"certificate space": {appID, certificate[:31] + " ", "app-certificate: not hexadecimal; want 32 hex digits"},
	} {
		m, err := NewMinter(c.appID, c.certificate)
		if m != nil || err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, %v; want the error %s", name, m, err, c.want)
		}
	}
}

func TestMintBundle(t *testing.T) {
	for _, v := range []Version{V006, V007} {
		t.Run(string(v), func(t *testing.T) {
			m := newMinter(t, v)
			id := session.Identity{
				RTC:  &session.RTC{Channel: "daily", UID: 1001, Role: session.Publisher},
				RTM:  &session.RTM{UserID: "ana"},
				Chat: &session.Chat{UserID: "ana-chat"},
			}
			tokens := must(m.Mint(id, now, now+600))(t)
			if tokens.ExpiresAt != now+600 {
				t.Errorf("ExpiresAt = %d, want %d", tokens.ExpiresAt, now+600)
			}
			rtc := must(Parse(tokens.RTC))(t)
			rtm := must(Parse(tokens.RTM))(t)
			chat := must(Parse(tokens.Chat))(t)
			for token, want := range map[*Token]struct {
				version Version
				holder  Holder
			}{
				rtc:  {v, Holder{Channel: "daily", User: "1001"}},
				rtm:  {v, Holder{User: "ana"}},
				chat: {V007, Holder{User: "ana-chat"}}, // Chat has no 006 format
			} {
				if token.Version != want.version || token.AppID != appID || token.IssuedAt != now {
					t.Errorf("got %+v", token)
				}
				if token.ExpiresAt != now+600 {
					t.Errorf("%s ends at %d, want %d", token.Services[0].Type, token.ExpiresAt, now+600)
				}
				for _, p := range token.Services[0].Privileges {
					if p.ExpiresAt != now+600 {
						t.Errorf("%s: %s ends at %d, want %d", token.Services[0].Type, p.Name, p.ExpiresAt, now+600)
					}
				}
				if token.Salt < 1 || token.Salt > maxSalt {
					t.Errorf("salt %d", token.Salt)
				}
				if err := token.Verify(certificate, want.holder); err != nil {
					t.Errorf("%s: %v", token.Services[0].Type, err)
				}
			}
		})
	}
}

func TestMintOnlyWhatIsAsked(t *testing.T) {
	rtc, rtm, chat := &session.RTC{Channel: "c"}, &session.RTM{UserID: "u"}, &session.Chat{UserID: "u"}
	for _, id := range []session.Identity{{RTC: rtc}, {RTM: rtm}, {Chat: chat}, {RTC: rtc, Chat: chat}} {
		tokens := must(newMinter(t, V007).Mint(id, now, now+60))(t)
		if (tokens.RTC != "") != (id.RTC != nil) ||
			(tokens.RTM != "") != (id.RTM != nil) ||
			(tokens.Chat != "") != (id.Chat != nil) {
			t.Errorf("for %+v got %+v", id, tokens)
		}
	}
}

func TestMintChatApplication(t *testing.T) {
	for _, v := range []Version{V006, V007} {
		token := must(Parse(must(newMinter(t, v).MintChat(session.Chat{}, now, now+60))(t)))(t)
		wantFields(t, token, &Token{
			Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, ExpiresAt: now + 60, Salt: token.Salt,
			Services: []Service{{Type: ServiceChat, Privileges: []Privilege{{ID: 2, Name: "app", ExpiresAt: now + 60}}}},
		})
	}
	_, err := newMinter(t, V007).MintChat(session.Chat{UserID: "a b"}, now, now+60)
	wantBadRequest(t, err, `chat.userId: ' ' at byte 1 is not allowed; `+wantChatBytes)
}

func TestMintSaltDiffers(t *testing.T) {
	m := newMinter(t, V007)
	seen := map[string]bool{}
	for range 100 {
		seen[must(m.mintRTC(session.RTC{Channel: "c"}, now, now+60))(t)] = true
	}
	if len(seen) < 99 { // one repeated salt in a hundred tokens is allowed, since more than one occurs only once in 20,000 runs
		t.Errorf("%d different tokens of 100", len(seen))
	}
}

func TestMintConcurrently(t *testing.T) {
	for _, v := range []Version{V006, V007} {
		m := newMinter(t, v)
		var group sync.WaitGroup
		for seed := range uint64(4) {
			group.Go(func() {
				s := newSource(seed)
				for range 50 {
					r := s.rtc()
					text, err := m.mintRTC(r, now, now+60)
					if err != nil {
						t.Error(err)
						return
					}
					token, err := Parse(text)
					if err == nil {
						err = token.Verify(certificate, Holder{Channel: r.Channel, User: r.User()})
					}
					if err != nil {
						t.Errorf("%+v: %v", r, err)
					}
				}
			})
		}
		group.Wait()
	}
}

func TestMintAllocations(t *testing.T) {
	m := newMinter(t, V007)
	account := session.RTC{Channel: strings.Repeat("c", 64), Account: strings.Repeat("a", 255), Role: session.Publisher}
	id := session.Identity{RTC: &account, RTM: &session.RTM{UserID: "u"}, Chat: &session.Chat{UserID: "u"}}
	for _, c := range []struct {
		name string
		want float64 // number of allocations; only the tokens themselves allocate
		mint func() error
	}{
		{"rtc uid", 1, func() error {
			_, err := m.mintRTC(session.RTC{Channel: "c", UID: 2882341273, Role: session.Publisher}, now, now+60)
			return err
		}},
		{"longest rtc", 1, func() error { _, err := m.mintRTC(account, now, now+60); return err }},
		{"rtm", 1, func() error { _, err := m.mintRTM(*id.RTM, now, now+60); return err }},
		{"chat", 1, func() error { _, err := m.MintChat(*id.Chat, now, now+60); return err }},
		{"bundle of three", 3, func() error { _, err := m.Mint(id, now, now+60); return err }},
	} {
		got := testing.AllocsPerRun(100, func() {
			if err := c.mint(); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.want {
			t.Errorf("%s: %v allocations, want %v", c.name, got, c.want)
		}
	}
}

func TestLongestTokenFitsTheSDK(t *testing.T) {
	r := session.RTC{Channel: strings.Repeat("c", 64), Account: strings.Repeat("a", 255), Role: session.Publisher}
	id := session.Identity{RTC: &r, RTM: &session.RTM{UserID: strings.Repeat("u", 64)}}
	for _, f := range []session.Format{session.Format006, session.Format007, session.FormatSingle} {
		tokens := must(newMinter(t, V007).Minter.Mint(id, f, now, now+60))(t)
		if n := len(tokens.RTC); n > maxTokenLength {
			t.Errorf("%s: %d characters, want %d at most", f, n, maxTokenLength)
		} else if f == session.FormatSingle && n != maxText {
			t.Errorf("%s: %d characters, want maxText, %d", f, n, maxText)
		}
	}
}

// TestMintSingle mints one token for RTC and RTM, and checks its content.
func TestMintSingle(t *testing.T) {
	id := session.Identity{
		RTC:  &session.RTC{Channel: "daily", UID: 1001},
		RTM:  &session.RTM{UserID: "ana"},
		Chat: &session.Chat{UserID: "ana"},
	}
	for _, role := range []session.Role{session.Subscriber, session.Publisher} {
		id.RTC.Role = role
		tokens := must(newMinter(t, V007).Minter.Mint(id, session.FormatSingle, now, now+60))(t)
		if tokens.RTC != tokens.RTM || tokens.Chat == "" || tokens.Chat == tokens.RTC {
			t.Fatalf("got %+v, want one token for RTC and RTM, and another for Chat", tokens)
		}
		token := must(Parse(tokens.RTC))(t)
		want := []Service{
			{Type: ServiceRTC, Channel: "daily", User: "1001", Privileges: []Privilege{{1, "join", now + 60}}},
			{Type: ServiceRTM, User: "ana", Privileges: []Privilege{{1, "login", now + 60}}},
		}
		if role == session.Publisher {
			want[0].Privileges = append(want[0].Privileges,
				Privilege{2, "publish audio", now + 60}, Privilege{3, "publish video", now + 60}, Privilege{4, "publish data", now + 60})
		}
		wantFields(t, token, &Token{
			Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, ExpiresAt: now + 60, Salt: token.Salt, Services: want,
		})
		if err := token.Verify(certificate, Holder{Channel: "daily", User: "1001"}); err != nil {
			t.Error(err)
		}
	}
	for _, alone := range []session.Identity{{RTC: id.RTC}, {RTM: id.RTM}} {
		tokens := must(newMinter(t, V007).Minter.Mint(alone, session.FormatSingle, now, now+60))(t)
		if n := len(must(Parse(tokens.RTC + tokens.RTM))(t).Services); n != 1 {
			t.Errorf("%+v alone opens %d services, want 1", alone, n)
		}
	}
}

// The RTM token of a stream channel has the same content as the classic Go server's.
func TestMintStream(t *testing.T) {
	m := newMinter(t, V007).Minter
	for role, privileges := range map[session.Role][]Privilege{
		session.Publisher:  {{1, "join", now + 60}, {4, "publish data", now + 60}},
		session.Subscriber: {{1, "join", now + 60}},
	} {
		text := must(m.MintStream(session.RTC{Channel: "room", Account: "ana", Role: role}, session.RTM{UserID: "ana"}, now, now+60))(t)
		token := must(Parse(text))(t)
		wantFields(t, token, &Token{
			Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, ExpiresAt: now + 60, Salt: token.Salt,
			Services: []Service{
				{Type: ServiceRTC, Channel: "room", User: "ana", Privileges: privileges},
				{Type: ServiceRTM, User: "ana", Privileges: []Privilege{{1, "login", now + 60}}},
			},
		})
		if err := token.Verify(certificate, Holder{Channel: "room", User: "ana"}); err != nil {
			t.Error(err)
		}
	}
	_, err := m.MintStream(session.RTC{Channel: "a/b", Account: "ana"}, session.RTM{UserID: "ana"}, now, now+60)
	wantBadRequest(t, err, "rtc.channel: '/' at byte 1 is not allowed; "+wantRTCBytes)
}

// No way of printing or logging a Minter, and none of its errors, reveals the certificate.
func TestCertificateStaysInside(t *testing.T) {
	m := newMinter(t, V007).Minter
	holder := struct {
		Exported   *Minter
		unexported *Minter
		value      Minter
	}{m, m, *m}

	var out strings.Builder
	for _, verb := range "vsqxXdpcTtbog" {
		for _, flags := range []string{"", "+", "#", "# +"} {
			format := "%" + flags + string(verb) + "\n"
			for _, v := range []any{m, *m, holder, &holder, []any{m, *m}, []Minter{*m}, map[string]*Minter{"m": m}} {
				fmt.Fprintf(&out, format, v)
			}
		}
	}
	for _, v := range []any{m, *m, holder} {
		out.Write(must(json.Marshal(v))(t))
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "minter", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "minter", v)
	}

	fail := func(err error) {
		if err == nil {
			t.Error("no error where one was expected")
		}
		fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
	}
	for i := range len(certificate) {
		_, err := NewMinter(appID, certificate[:i])
		fail(err)
		_, err = NewMinter(appID, certificate[:i]+"?"+certificate[i+1:])
		fail(err)
	}
	_, err := NewMinter(certificate+certificate, certificate)
	fail(err)
	_, err = m.Mint(session.Identity{}, session.Format007, now, now+60)
	fail(err)
	_, err = m.Mint(session.Identity{RTM: &session.RTM{UserID: "u"}}, session.Format006, 0, 60)
	fail(err)
	for _, v := range []Version{V006, V007} {
		text := must(newMinter(t, v).mintRTC(session.RTC{Channel: "c"}, now, now+60))(t)
		token := must(Parse(text))(t)
		fail(token.Verify(certificate, Holder{Channel: "d"}))
		fail(token.Verify(certificate[1:]+"0", Holder{Channel: "c"}))
	}

	text := strings.ToLower(out.String())
	for _, secret := range []string{
		certificate,
		certificate[:16],
		certificate[16:],
		fmt.Sprintf("%x", certificate[:8]),
		strings.Trim(fmt.Sprint([]byte(certificate[:8])), "[]"),
	} {
		if i := strings.Index(text, strings.ToLower(secret)); i >= 0 {
			t.Errorf("found %q in %q", secret, text[max(0, i-100):i])
		}
	}
	if want := "agora.Minter{" + appID + "}"; fmt.Sprint(m) != want {
		t.Errorf("a Minter prints as %v, want %s", m, want)
	}
}
