package agora

import (
	"bytes"
	"strings"
	"testing"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/accesstoken2"
	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// TestTokensOfAgorasBuilders compares this package's tokens with known ones: they equal the Rust
// builder's byte for byte, and the Go builder's after inflating.
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

// TestAgoraParsesOurs parses 15,000 tokens of this package with Agora's Go module. It verifies their
// signatures with this package, since Agora's parser checks no signature.
func TestAgoraParsesOurs(t *testing.T) {
	t.Parallel()
	s := newSource(7)
	m := newMinter(t, V007)
	for range 2500 {
		from, to := s.times()
		lifetime := uint32(to - from)

		r := s.rtc()
		rtc := accesstoken2.NewServiceRtc(r.Channel, r.User())
		rtc.AddPrivilege(accesstoken2.PrivilegeJoinChannel, lifetime)
		if r.Role == session.Publisher {
			rtc.AddPrivilege(accesstoken2.PrivilegePublishAudioStream, lifetime)
			rtc.AddPrivilege(accesstoken2.PrivilegePublishVideoStream, lifetime)
			rtc.AddPrivilege(accesstoken2.PrivilegePublishDataStream, lifetime)
		}
		wantAgora(t, must(m.mintRTC(r, from, to))(t), from, to, services(rtc),
			Holder{Channel: r.Channel, User: r.User()})

		rtm := accesstoken2.NewServiceRtm(s.rtm().UserID)
		rtm.AddPrivilege(accesstoken2.PrivilegeLogin, lifetime)
		wantAgora(t, must(m.mintRTM(session.RTM{UserID: rtm.UserId}, from, to))(t), from, to,
			services(rtm), Holder{User: rtm.UserId})

		chat := accesstoken2.NewServiceChat(s.chat().UserID)
		chat.AddPrivilege(accesstoken2.PrivilegeChatUser, lifetime)
		wantAgora(t, must(m.MintChat(session.Chat{UserID: chat.UserId}, from, to))(t), from, to,
			services(chat), Holder{User: chat.UserId})

		app := accesstoken2.NewServiceChat("")
		app.AddPrivilege(accesstoken2.PrivilegeChatApp, lifetime)
		wantAgora(t, must(m.MintChat(session.Chat{}, from, to))(t), from, to,
			services(app), Holder{})

		// RTC and RTM have different users, as in Agora's BuildTokenWithRtm2.
		single := must(m.Minter.Mint(session.Identity{RTC: &r, RTM: &session.RTM{UserID: rtm.UserId}}, session.FormatSingle, from, to))(t)
		wantAgora(t, single.RTC, from, to, services(rtc, rtm), Holder{Channel: r.Channel, User: r.User()})

		stream := accesstoken2.NewServiceRtc(r.Channel, rtm.UserId)
		stream.AddPrivilege(accesstoken2.PrivilegeJoinChannel, lifetime)
		stream.AddPrivilege(accesstoken2.PrivilegePublishDataStream, lifetime)
		streamer := session.RTC{Channel: r.Channel, Account: rtm.UserId, Role: session.Publisher}
		wantAgora(t, must(m.MintStream(streamer, session.RTM{UserID: rtm.UserId}, from, to))(t), from, to,
			services(stream, rtm), Holder{Channel: r.Channel, User: rtm.UserId})
	}
}

// services returns services by type, as Agora's parser stores them.
func services(all ...accesstoken2.IService) map[uint16]accesstoken2.IService {
	token := accesstoken2.CreateAccessToken()
	for _, s := range all {
		token.AddService(s)
	}
	return token.Services
}

func wantAgora(t *testing.T, text string, from, to session.UnixSec, services map[uint16]accesstoken2.IService, h Holder) {
	t.Helper()
	got := accesstoken2.CreateAccessToken()
	if ok, err := got.Parse(text); !ok || err != nil {
		t.Fatalf("Agora's parser: %v", err)
	}
	if got.Salt < 1 || got.Salt > 99_999_999 {
		t.Fatalf("salt %d", got.Salt)
	}
	want := &accesstoken2.AccessToken{
		AppId: appID, IssueTs: uint32(from), Expire: uint32(to - from), Salt: got.Salt,
		Services: services,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("read by Agora's parser (-want +got):\n%s", diff)
	}
	if err := must(Parse(text))(t).Verify(certificate, h); err != nil {
		t.Fatal(err)
	}
}

// TestOursParsesAgora reads tokens of Agora's Go builder, with one to five
// services and any privileges.
func TestOursParsesAgora(t *testing.T) {
	t.Parallel()
	s := newSource(8)
	for range 500 {
		from, to := s.times()
		token := accesstoken2.NewAccessToken(appID, certificate, uint32(to-from))
		token.IssueTs = uint32(from)
		want := &Token{
			Version: V007, AppID: appID, IssuedAt: from, ValidUntil: to, ExpiresAt: to, Salt: token.Salt,
			Services: []Service{},
		}
		add := func(theirs accesstoken2.IService, privileges map[uint16]uint32, ours Service) {
			ours.Privileges = []Privilege{}
			for id := uint16(1); id <= 6; id++ {
				p := Privilege{ID: id, Name: privilegeName(ours.Type, id)}
				switch s.IntN(4) {
				case 0: // not granted
					continue
				case 1: // the privilege is granted without a separate expiry
					privileges[id] = 0
				default:
					privileges[id] = 1 + s.Uint32N(1<<20)
					p.ExpiresAt = from + session.UnixSec(privileges[id])
					want.ExpiresAt = min(want.ExpiresAt, p.ExpiresAt)
				}
				ours.Privileges = append(ours.Privileges, p)
			}
			want.Services = append(want.Services, ours)
			token.AddService(theirs)
		}
		which := 1 + s.IntN(31)
		if which&1 != 0 {
			r := s.rtc()
			x := accesstoken2.NewServiceRtc(r.Channel, r.User())
			add(x, x.Privileges, Service{Type: ServiceRTC, Channel: r.Channel, User: r.User()})
		}
		if which&2 != 0 {
			x := accesstoken2.NewServiceRtm(s.rtm().UserID)
			add(x, x.Privileges, Service{Type: ServiceRTM, User: x.UserId})
		}
		if which&4 != 0 {
			x := accesstoken2.NewServiceFpa()
			add(x, x.Privileges, Service{Type: ServiceFPA})
		}
		if which&8 != 0 {
			x := accesstoken2.NewServiceChat(s.chat().UserID)
			add(x, x.Privileges, Service{Type: ServiceChat, User: x.UserId})
		}
		if which&16 != 0 {
			x := accesstoken2.NewServiceApaas(s.name(allowedRTC, 64), s.name(allowedRTC, 64), int16(s.Uint32()))
			add(x, x.Privileges, Service{Type: ServiceAPaaS, Room: x.RoomUuid, User: x.UserUuid, Role: x.Role})
		}
		got := must(Parse(must(token.Build())(t)))(t)
		wantFields(t, got, want)
		if err := got.Verify(certificate, Holder{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encodeSigned(got), got.signed) {
			t.Fatalf("encoded again it differs: %+v", got)
		}
	}
}
