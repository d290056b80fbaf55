package agora

import (
	"bytes"
	"strings"
	"testing"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/accesstoken2"
	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// TestTokensOfAgorasBuilders compares this package's tokens with tokens from Agora's test suites. Tokens of Agora's
// Rust builder must be equal byte for byte. Tokens of the Go builder are compressed, so only their contents are
// compared.
func TestTokensOfAgorasBuilders(t *testing.T) {
	e := newEnvelope(appID, certificate, 1111111, 600, 1)
	rtc := session.RTC{Channel: "7d72365eb983485397e3e3f9d460bdda", UID: 2882341273}
	ours := map[string]string{
		"go/src/accesstoken2/accesstoken_test.go:196": e.rtc(rtc),
		"go/src/accesstoken2/accesstoken_test.go:214": e.rtc(session.RTC{Channel: rtc.Channel}),
		"go/src/accesstoken2/accesstoken_test.go:231": e.rtm(session.RTM{UserID: "test_user"}),
		"go/src/accesstoken2/accesstoken_test.go:248": e.chat(session.Chat{UserID: "2882341273"}),
		"go/src/accesstoken2/accesstoken_test.go:265": e.chat(session.Chat{}),
		"rust/src/access_token.rs:768":                e.rtc(rtc),
	}
	for _, v := range vectors(t) {
		text, ok := ours[v.From]
		if !ok {
			continue
		}
		delete(ours, v.From)
		if strings.HasPrefix(v.From, "rust/") && text != v.Token {
			t.Errorf("%s: got %s, want %s", v.From, text, v.Token)
		}
		got, want := must(Parse(text))(t), must(Parse(v.Token))(t)
		if !bytes.Equal(got.signed, want.signed) || !bytes.Equal(got.signature, want.signature) {
			t.Errorf("%s: got %+v, want %+v", v.From, got, want)
		}
	}
	if len(ours) != 0 {
		t.Errorf("no vectors for %v", ours)
	}
}

// TestAgoraParsesOurs parses tokens of this package with Agora's Go module. Agora's parser checks no signature, so this
// package verifies it.
func TestAgoraParsesOurs(t *testing.T) {
	t.Parallel()
	m := newMinter(t, V007)
	for _, q := range requests() {
		from, to, r, user, chatUser := q.from, q.to, *q.RTC, q.RTM.UserID, q.Chat.UserID
		lifetime := uint32(to - from)

		rtc := accesstoken2.NewServiceRtc(r.Channel, r.User())
		rtc.AddPrivilege(accesstoken2.PrivilegeJoinChannel, lifetime)
		if r.Role == session.Publisher {
			rtc.AddPrivilege(accesstoken2.PrivilegePublishAudioStream, lifetime)
			rtc.AddPrivilege(accesstoken2.PrivilegePublishVideoStream, lifetime)
			rtc.AddPrivilege(accesstoken2.PrivilegePublishDataStream, lifetime)
		}
		rtm := accesstoken2.NewServiceRtm(user)
		rtm.AddPrivilege(accesstoken2.PrivilegeLogin, lifetime)
		chat := accesstoken2.NewServiceChat(chatUser)
		chat.AddPrivilege(accesstoken2.PrivilegeChatUser, lifetime)
		app := accesstoken2.NewServiceChat("")
		app.AddPrivilege(accesstoken2.PrivilegeChatApp, lifetime)
		stream := accesstoken2.NewServiceRtc(r.Channel, user)
		stream.AddPrivilege(accesstoken2.PrivilegeJoinChannel, lifetime)
		stream.AddPrivilege(accesstoken2.PrivilegePublishDataStream, lifetime)

		bundle := must(m.Mint(q.Identity, from, to))(t)
		single := must(m.Minter.Mint(q.Identity, session.FormatSingle, from, to))(t)
		streamer := session.RTC{Channel: r.Channel, Account: user, Role: session.Publisher}
		for _, c := range []struct {
			text     string
			services []accesstoken2.IService
			holder   Holder
		}{
			{bundle.RTC, []accesstoken2.IService{rtc}, Holder{r.Channel, r.User()}},
			{bundle.RTM, []accesstoken2.IService{rtm}, Holder{User: user}},
			{bundle.Chat, []accesstoken2.IService{chat}, Holder{User: chatUser}},
			{must(m.MintChat(session.Chat{}, from, to))(t), []accesstoken2.IService{app}, Holder{}},
			{single.RTC, []accesstoken2.IService{rtc, rtm}, Holder{r.Channel, r.User()}},
			{must(m.MintStream(streamer, session.RTM{UserID: user}, from, to))(t), []accesstoken2.IService{stream, rtm}, Holder{r.Channel, user}},
		} {
			got := accesstoken2.CreateAccessToken()
			if ok, err := got.Parse(c.text); !ok || err != nil {
				t.Fatalf("Agora's parser: %v", err)
			}
			want := accesstoken2.CreateAccessToken()
			want.AppId, want.IssueTs, want.Expire, want.Salt = appID, uint32(from), lifetime, got.Salt
			for _, service := range c.services {
				want.AddService(service)
			}
			if diff := cmp.Diff(want, got); diff != "" || got.Salt < 1 || got.Salt > 99_999_999 {
				t.Fatalf("salt %d, read by Agora's parser (-want +got):\n%s", got.Salt, diff)
			}
			if err := must(Parse(c.text))(t).Verify(certificate, c.holder); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOursParsesAgora parses a token of Agora's Go builder that has every service, each with the privileges 1 to 6.
func TestOursParsesAgora(t *testing.T) {
	token := accesstoken2.NewAccessToken(appID, certificate, 3600)
	token.IssueTs = uint32(now)
	rtc, rtm, fpa := accesstoken2.NewServiceRtc("c", "7"), accesstoken2.NewServiceRtm("ana"), accesstoken2.NewServiceFpa()
	chat, apaas := accesstoken2.NewServiceChat("bob"), accesstoken2.NewServiceApaas("room", "eve", -2)
	names := map[ServiceType][]string{
		ServiceRTC:   {"join", "publish audio", "publish video", "publish data", ""},
		ServiceRTM:   {"login", "", "", "", ""},
		ServiceFPA:   {"login", "", "", "", ""},
		ServiceChat:  {"user", "app", "", "", ""},
		ServiceAPaaS: {"room user", "user", "app", "", ""},
	}
	want := &Token{
		Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 3600, ExpiresAt: now + 10, Salt: token.Salt,
		Services: []Service{
			{Type: ServiceRTC, Channel: "c", User: "7"},
			{Type: ServiceRTM, User: "ana"},
			{Type: ServiceFPA},
			{Type: ServiceChat, User: "bob"},
			{Type: ServiceAPaaS, Room: "room", User: "eve", Role: -2},
		},
	}
	for i, privileges := range []map[uint16]uint32{rtc.Privileges, rtm.Privileges, fpa.Privileges, chat.Privileges, apaas.Privileges} {
		s := &want.Services[i]
		for n, name := range names[s.Type] {
			id := uint16(n + 1)
			privileges[id] = uint32(10 * id)
			s.Privileges = append(s.Privileges, Privilege{id, name, now + session.UnixSec(privileges[id])})
		}
		privileges[6] = 0 // 0 means that this privilege expires only with the token
		s.Privileges = append(s.Privileges, Privilege{ID: 6})
	}
	for _, s := range []accesstoken2.IService{rtc, rtm, fpa, chat, apaas} {
		token.AddService(s)
	}
	got := must(Parse(must(token.Build())(t)))(t)
	wantFields(t, got, want)
	if err := got.Verify(certificate, Holder{Channel: "c", User: "7"}); err != nil {
		t.Error(err)
	}
}
