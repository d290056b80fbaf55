package agora

import (
	"maps"
	"testing"

	accesstoken "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/AccessToken"

	"refresher/internal/session"
)

// TestAgoraReads006 reads 006 tokens of this package with the parser of Agora's Go module. That parser checks no
// signature, so this package verifies it.
func TestAgoraReads006(t *testing.T) {
	m := newMinter(t, V006)
	for _, q := range requests() {
		to := uint32(q.to)
		rtc := map[uint16]uint32{1: to}
		if q.RTC.Role == session.Publisher {
			rtc = map[uint16]uint32{1: to, 2: to, 3: to, 4: to}
		}
		tokens := must(m.Mint(q.Identity, q.from, q.to))(t)
		for _, c := range []struct {
			text       string
			privileges map[uint16]uint32
			holder     Holder
		}{
			{tokens.RTC, rtc, Holder{q.RTC.Channel, q.RTC.User()}},
			{tokens.RTM, map[uint16]uint32{1000: to}, Holder{User: q.RTM.UserID}},
		} {
			var read accesstoken.AccessToken
			if !read.FromString(c.text) || read.Salt < 1 || read.Salt > 99_999_999 || session.UnixSec(read.Ts) != q.from+86400 || !maps.Equal(read.Message, c.privileges) {
				t.Fatalf("read by Agora's parser: %+v, want %v", read, c.privileges)
			}
			token := must(Parse(c.text))(t)
			if token.IssuedAt != q.from || token.ExpiresAt != q.to || token.ValidUntil != q.from+86400 || token.Salt != read.Salt {
				t.Fatalf("issued at %d, expires at %d; got %+v", q.from, q.to, token)
			}
			if err := token.Verify(certificate, c.holder); err != nil {
				t.Fatal(err)
			}
		}
	}
}
