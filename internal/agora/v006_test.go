package agora

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"testing"

	accesstoken "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/AccessToken"

	"refresher/internal/session"
)

// TestAgoraReads006 reads our 006 tokens with the parser of Agora's Go module
// and builds them again with its constructors.
func TestAgoraReads006(t *testing.T) {
	t.Parallel()
	s := newSource(6)
	m := newMinter(t, V006)
	for range 2000 {
		from, to := s.times()
		r, u := s.rtc(), s.rtm()
		rtc := accesstoken.CreateAccessToken2(appID, certificate, r.Channel, r.User())
		rtc.AddPrivilege(accesstoken.KJoinChannel, uint32(to))
		if r.Role == session.Publisher {
			rtc.AddPrivilege(accesstoken.KPublishAudioStream, uint32(to))
			rtc.AddPrivilege(accesstoken.KPublishVideoStream, uint32(to))
			rtc.AddPrivilege(accesstoken.KPublishDataStream, uint32(to))
		}
		want006(t, must(m.mintRTC(r, from, to))(t), rtc, from, to, Holder{Channel: r.Channel, User: r.User()})

		rtm := accesstoken.CreateAccessToken2(appID, certificate, u.UserID, "")
		rtm.AddPrivilege(accesstoken.KLoginRtm, uint32(to))
		want006(t, must(m.mintRTM(u, from, to))(t), rtm, from, to, Holder{User: u.UserID})
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

// TestA006TokenCanBeAltered is the reason why session.Policy.Format lets no request choose 006:
// without the certificate, anyone can change a 006 token into one for another channel and user, as
// docs/operate/security.md says.
func TestA006TokenCanBeAltered(t *testing.T) {
	t.Parallel()
	const head = len("006") + hexDigits
	text := must(newMinter(t, V006).mintRTC(session.RTC{Channel: "daily-42", UID: 7}, 1_800_000_000, 1_800_003_600))(t)
	body := must(base64.StdEncoding.DecodeString(text[head:]))(t)
	sums := body[2+binary.LittleEndian.Uint16(body):] // the checksums follow the signature
	binary.LittleEndian.PutUint32(sums, crc32.ChecksumIEEE([]byte("daily-4")))
	binary.LittleEndian.PutUint32(sums[4:], crc32.ChecksumIEEE([]byte("27")))
	altered := must(Parse(text[:head] + base64.StdEncoding.EncodeToString(body)))(t)
	if err := altered.Verify(certificate, Holder{Channel: "daily-4", User: "27"}); err != nil {
		t.Errorf("the documents say that this can be done, but: %v", err)
	}
	if altered.Verify(certificate, Holder{Channel: "daily-42", User: "7"}) == nil {
		t.Error("it is still the first user's, too")
	}
}
