package agora

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"refresher/internal/session"
)

func TestNewMinterErrors(t *testing.T) {
	for _, c := range []struct{ appID, certificate, want string }{
		{appID + "0", certificate, "app-id: 33 characters long; want 32 hex digits"},
		{"g" + appID[1:], certificate, "app-id: not hexadecimal; want 32 hex digits"},
		{appID, certificate[1:], "app-certificate: 31 characters long; want 32 hex digits"},
		{appID, certificate[:31] + " ", "app-certificate: not hexadecimal; want 32 hex digits"},
	} {
		if m, err := NewMinter(c.appID, c.certificate); m != nil || err == nil || err.Error() != c.want {
			t.Errorf("got %v, %v; want the error %s", m, err, c.want)
		}
	}
}

// everyService is the identity of a publisher who also uses RTM and Chat.
var everyService = session.Identity{
	RTC:  &session.RTC{Channel: "daily", UID: 1001, Role: session.Publisher},
	RTM:  &session.RTM{UserID: "ana"},
	Chat: &session.Chat{UserID: "ana-chat"},
}

// wantToken007 checks a token that expires 60 s after now, and whose privileges expire only with the token.
func wantToken007(t *testing.T, text string, services ...Service) {
	t.Helper()
	token := must(Parse(text))(t)
	for i := range services {
		for j := range services[i].Privileges {
			services[i].Privileges[j].ExpiresAt = now + 60
		}
	}
	wantFields(t, token, &Token{
		Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, ExpiresAt: now + 60, Salt: token.Salt, Services: services,
	})
	if err := token.Verify(certificate, Holder{Channel: services[0].Channel, User: services[0].User}); err != nil {
		t.Error(err)
	}
}

// TestMintBundle checks the versions of the tokens. TestAgoraReads006 and TestAgoraParsesOurs check their content.
func TestMintBundle(t *testing.T) {
	for _, v := range []Version{V006, V007} {
		m := newMinter(t, v)
		tokens := must(m.Mint(everyService, now, now+60))(t)
		if got := must(Parse(tokens.RTC))(t).Version; got != v || tokens.ExpiresAt != now+60 || tokens.Certificate != m.Fingerprint() {
			t.Errorf("%s: version %s of %+v", v, got, tokens)
		}
		if got := must(Parse(tokens.RTM))(t).Version; got != v {
			t.Errorf("%s: RTM token of version %s", v, got)
		}
		// Chat has no 006 format, so its token always has the version 007.
		wantToken007(t, tokens.Chat, Service{Type: ServiceChat, User: "ana-chat", Privileges: []Privilege{{ID: 1, Name: "user"}}})
		wantToken007(t, must(m.MintChat(session.Chat{}, now, now+60))(t), Service{Type: ServiceChat, Privileges: []Privilege{{ID: 2, Name: "app"}}})
	}
}

func TestMintOnlyWhatIsAsked(t *testing.T) {
	e := everyService
	for _, id := range []session.Identity{{RTC: e.RTC}, {RTM: e.RTM}, {Chat: e.Chat}, {RTC: e.RTC, Chat: e.Chat}} {
		for _, f := range []session.Format{session.Format006, session.Format007, session.FormatSingle} {
			tokens := must(newMinter(t, V007).Minter.Mint(id, f, now, now+60))(t)
			if (tokens.RTC != "") != (id.RTC != nil) || (tokens.RTM != "") != (id.RTM != nil) || (tokens.Chat != "") != (id.Chat != nil) {
				t.Errorf("%s: for %+v got %+v", f, id, tokens)
			}
		}
	}
}

func TestMintSaltDiffers(t *testing.T) {
	m := newMinter(t, V007)
	seen := map[string]bool{}
	for range 100 {
		seen[must(m.mintRTC(session.RTC{Channel: "c"}, now, now+60))(t)] = true
	}
	if len(seen) < 99 { // one salt may repeat by chance, in one of 20,000 runs; a second repeated salt is an error
		t.Errorf("%d different tokens of 100", len(seen))
	}
}

// Minting allocates memory only for the tokens that it returns.
func TestMintAllocations(t *testing.T) {
	m := newMinter(t, V007)
	id := everyService
	id.RTC = &session.RTC{Channel: strings.Repeat("c", 64), Account: strings.Repeat("a", 255), Role: session.Publisher}
	for name, c := range map[string]struct {
		id   session.Identity
		want float64
	}{
		"uid":             {session.Identity{RTC: everyService.RTC}, 1},
		"longest account": {session.Identity{RTC: id.RTC}, 1},
		"bundle of three": {id, 3},
	} {
		got := testing.AllocsPerRun(100, func() {
			if _, err := m.Mint(c.id, now, now+60); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.want {
			t.Errorf("%s: %v allocations, want %v", name, got, c.want)
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

func TestMintSingle(t *testing.T) {
	tokens := must(newMinter(t, V007).Minter.Mint(everyService, session.FormatSingle, now, now+60))(t)
	if tokens.RTC != tokens.RTM || tokens.Chat == "" || tokens.Chat == tokens.RTC {
		t.Fatalf("got %+v, want one token for RTC and RTM, and another for Chat", tokens)
	}
	wantToken007(t, tokens.RTC, Service{Type: ServiceRTC, Channel: "daily", User: "1001", Privileges: []Privilege{
		{ID: 1, Name: "join"}, {ID: 2, Name: "publish audio"}, {ID: 3, Name: "publish video"}, {ID: 4, Name: "publish data"},
	}}, Service{Type: ServiceRTM, User: "ana", Privileges: []Privilege{{ID: 1, Name: "login"}}})
}

func TestMintStream(t *testing.T) {
	m := newMinter(t, V007).Minter
	for role, privileges := range map[session.Role][]Privilege{
		session.Publisher:  {{ID: 1, Name: "join"}, {ID: 4, Name: "publish data"}},
		session.Subscriber: {{ID: 1, Name: "join"}},
	} {
		text := must(m.MintStream(session.RTC{Channel: "room", Account: "ana", Role: role}, session.RTM{UserID: "ana"}, now, now+60))(t)
		wantToken007(t, text, Service{Type: ServiceRTC, Channel: "room", User: "ana", Privileges: privileges},
			Service{Type: ServiceRTM, User: "ana", Privileges: []Privilege{{ID: 1, Name: "login"}}})
	}
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

	bad := certificate[:31] + "?"
	_, errLength := NewMinter(appID, certificate[:31])
	_, errDigit := NewMinter(appID, bad)
	_, errAppID := NewMinter(certificate+certificate, certificate)
	token := must(Parse(must(newMinter(t, V006).mintRTC(session.RTC{Channel: "c"}, now, now+60))(t)))(t)
	for _, err := range []error{errLength, errDigit, errAppID, token.Verify(certificate, Holder{Channel: "d"}), token.Verify(bad, Holder{Channel: "c"})} {
		if err == nil {
			t.Error("no error where one was expected")
		}
		fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
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
