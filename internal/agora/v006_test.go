package agora

import (
	"testing"

	accesstoken "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/AccessToken"

	"refresher/internal/session"
)

// TestAgoraReads006 reads our 006 tokens with the parser of Agora's Go module
// and builds them again with its constructors.
func TestAgoraReads006(t *testing.T) {
	t.Parallel()
	m := newMinter(t, V006)
	for _, q := range requests() {
		from, to, r, u := q.from, q.to, *q.RTC, *q.RTM
		tokens := must(m.Mint(q.Identity, from, to))(t)
		rtc := accesstoken.CreateAccessToken2(appID, certificate, r.Channel, r.User())
		rtc.AddPrivilege(accesstoken.KJoinChannel, uint32(to))
		if r.Role == session.Publisher {
			rtc.AddPrivilege(accesstoken.KPublishAudioStream, uint32(to))
			rtc.AddPrivilege(accesstoken.KPublishVideoStream, uint32(to))
			rtc.AddPrivilege(accesstoken.KPublishDataStream, uint32(to))
		}
		want006(t, tokens.RTC, rtc, from, to, Holder{Channel: r.Channel, User: r.User()})

		rtm := accesstoken.CreateAccessToken2(appID, certificate, u.UserID, "")
		rtm.AddPrivilege(accesstoken.KLoginRtm, uint32(to))
		want006(t, tokens.RTM, rtm, from, to, Holder{User: u.UserID})
	}
}

func want006(t *testing.T, text string, theirs accesstoken.AccessToken, from, to session.UnixSec, h Holder) {
	t.Helper()
	var read accesstoken.AccessToken
	if !read.FromString(text) {
		t.Fatal("Agora's parser refuses the token")
	}
	if read.Salt < 1 || read.Salt > 99_999_999 || session.UnixSec(read.Ts) != from+86400 {
		t.Fatalf("salt %d, ts %d", read.Salt, read.Ts)
	}
	theirs.Salt, theirs.Ts = read.Salt, read.Ts
	if want := must(theirs.Build())(t); text != want {
		t.Fatalf("got  %s\nwant %s", text, want)
	}
	token := must(Parse(text))(t)
	if token.IssuedAt != from || token.ExpiresAt != to || token.ValidUntil != from+86400 || token.Salt != read.Salt {
		t.Fatalf("issued at %d, expires at %d; got %+v", from, to, token)
	}
	if len(token.Services[0].Privileges) != len(theirs.Message) {
		t.Fatalf("got %+v", token.Services)
	}
	for _, p := range token.Services[0].Privileges {
		if p.ExpiresAt != session.UnixSec(theirs.Message[p.ID]) || p.Name == "" {
			t.Fatalf("got %+v", p)
		}
	}
	if err := token.Verify(certificate, h); err != nil {
		t.Fatal(err)
	}
}
