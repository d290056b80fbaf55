package agora

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	rtctokenbuilder "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/RtcTokenBuilder"
	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtctokenbuilder2"

	"refresher/internal/session"
)

// The targets for a 007 RTC publisher token: it takes at most 1.5 times as long as three HMACs by
// crypto/hmac. On all cores it takes at most a fiftieth of the time of Agora's builder.
// BenchmarkPublisher007 shows both; BenchmarkAgainstHMACs measures the first as a ratio, which
// other load on the machine does not change.

var publisher = session.RTC{
	Channel: "7d72365eb983485397e3e3f9d460bdda",
	UID:     2882341273,
	Role:    session.Publisher,
}

// benchmark measures f alone and on all cores at once.
func benchmark(b *testing.B, name string, f func() error) {
	b.Run(name+"/serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkPublisher007(b *testing.B) {
	m := newMinter(b, V007)
	benchmark(b, "ours", func() error {
		_, err := m.mintRTC(publisher, now, now+3600)
		return err
	})
	body := publisherBody(b, m)
	benchmark(b, "hmacs", func() error {
		threeHMACs(body)
		return nil
	})
	benchmark(b, "agora", func() error {
		_, err := rtctokenbuilder2.BuildTokenWithUid(appID, certificate,
			publisher.Channel, publisher.UID, rtctokenbuilder2.RolePublisher, 3600, 3600)
		return err
	})
}

// BenchmarkAgainstHMACs runs both sides in turn, so that other load affects them equally.
func BenchmarkAgainstHMACs(b *testing.B) {
	m := newMinter(b, V007)
	body := publisherBody(b, m)
	var ours, hmacs time.Duration
	for b.Loop() {
		start := time.Now()
		for range 100 {
			_, _ = m.mintRTC(publisher, now, now+3600) // the same call succeeded before
		}
		turn := time.Now()
		for range 100 {
			threeHMACs(body)
		}
		ours += turn.Sub(start)
		hmacs += time.Since(turn)
	}
	b.ReportMetric(0, "ns/op") // suppresses the time of a whole iteration, which means nothing here
	b.ReportMetric(float64(ours)/float64(hmacs), "ours/hmacs")
}

func publisherBody(b *testing.B, m testMinter) []byte {
	b.Helper()
	return must(Parse(must(m.mintRTC(publisher, now, now+3600))(b)))(b).signed
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

func BenchmarkPublisher006(b *testing.B) {
	m := newMinter(b, V006)
	benchmark(b, "ours", func() error {
		_, err := m.mintRTC(publisher, now, now+3600)
		return err
	})
	benchmark(b, "agora", func() error {
		_, err := rtctokenbuilder.BuildTokenWithUID(appID, certificate,
			publisher.Channel, publisher.UID, rtctokenbuilder.RolePublisher, uint32(now+3600))
		return err
	})
}

func BenchmarkBundle(b *testing.B) {
	m := newMinter(b, V007)
	id := session.Identity{RTC: &publisher, RTM: &session.RTM{UserID: "ana"}, Chat: &session.Chat{UserID: "ana"}}
	benchmark(b, "three services", func() error {
		_, err := m.Mint(id, now, now+3600)
		return err
	})
}

func BenchmarkInspect(b *testing.B) {
	for _, v := range []Version{V006, V007} {
		m := newMinter(b, v)
		text := must(m.mintRTC(publisher, now, now+3600))(b)
		holder := Holder{Channel: publisher.Channel, User: publisher.User()}
		benchmark(b, string(v), func() error {
			token, err := Parse(text)
			if err != nil {
				return err
			}
			return token.Verify(certificate, holder)
		})
	}
}
