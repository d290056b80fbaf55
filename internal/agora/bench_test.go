package agora

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtctokenbuilder2"

	"refresher/internal/session"
)

// These are the targets for minting a 007 token of an RTC publisher. Minting takes at most 1.5 times as long as
// computing the token's three HMACs with crypto/hmac. If all cores mint, a token takes at most a fiftieth of the time
// that Agora's builder needs.

var publisher = session.RTC{
	Channel: "7d72365eb983485397e3e3f9d460bdda",
	UID:     2882341273,
	Role:    session.Publisher,
}

func BenchmarkPublisher007(b *testing.B) {
	m := newMinter(b, V007)
	for name, build := range map[string]func() (string, error){
		"ours": func() (string, error) { return m.mintRTC(publisher, now, now+3600) },
		"agora": func() (string, error) {
			return rtctokenbuilder2.BuildTokenWithUid(appID, certificate, publisher.Channel, publisher.UID, rtctokenbuilder2.RolePublisher, 3600, 3600)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := build(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkAgainstHMACs mints tokens and computes HMACs by turns, so that other load on the machine affects both
// equally.
func BenchmarkAgainstHMACs(b *testing.B) {
	m := newMinter(b, V007)
	body := must(Parse(must(m.mintRTC(publisher, now, now+3600))(b)))(b).signed
	var ours, hmacs time.Duration
	for b.Loop() {
		start := time.Now()
		for range 100 {
			_, _ = m.mintRTC(publisher, now, now+3600)
		}
		turn := time.Now()
		for range 100 {
			threeHMACs(body)
		}
		ours += turn.Sub(start)
		hmacs += time.Since(turn)
	}
	b.ReportMetric(0, "ns/op") // 0 hides the time of an iteration, since only the ratio matters
	b.ReportMetric(float64(ours)/float64(hmacs), "ours/hmacs")
}

// threeHMACs signs a body as Agora's Go builder does, and does nothing else.
func threeHMACs(body []byte) {
	issuedAt := binary.LittleEndian.AppendUint32(nil, uint32(now))
	salt := binary.LittleEndian.AppendUint32(nil, 1)
	key := cryptoHMAC(salt, cryptoHMAC(issuedAt, []byte(certificate)))
	cryptoHMAC(key, body)
}

func cryptoHMAC(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}
