//go:build linux

package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	rtc "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtctokenbuilder2"
	rtm "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtmtokenbuilder2"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// The credentials are the example in Agora's documentation.
const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"
	lifetime    = time.Hour
)

// application is the server that one would write around a WebSocket library instead of using refresher. It mints the
// same tokens, and its answers are as long as refresher's, but it keeps no sessions, schedules no renewals and stores
// nothing.
type application struct {
	mint   mint
	refuse bool
}

func newApplication(c choice) *application {
	return &application{mint: refresherMint(), refuse: c.Refuse}
}

// The messages have the form and the length of refresher's. Their arguments: %[1] is the RTC token, %[2] the RTM token,
// %[3] their expiry, %[4] the time now, %[5] the id of the session, %[6] its resume key.
const (
	bundle = `"tokens":{"rtc":{"token":"%[1]s","expiresAt":%[3]d},"rtm":{"token":"%[2]s","expiresAt":%[3]d}}`
	joined = `{"type":"joined","session":"%[5]s","key":"%[6]s","resumed":false,"seq":1,` + bundle +
		`,"heartbeat":50,"renewBefore":300,"now":%[4]d}`
	pushed = `{"type":"token-privilege-will-expire","seq":2,` + bundle +
		`,"previousExpiresAt":%[3]d,"action":"renew","attempt":1,"cause":"renew","now":%[4]d}`
	pong = `{"type":"pong","now":%d}`

	reconnect = `{"type":"reconnect","afterMs":12345,"reason":"overload"}`
)

var (
	sampleSession = strings.Repeat("s", 26)
	sampleKey     = strings.Repeat("k", 300)
)

// answer returns the server's answer to a message, or nil if the message needs no answer.
func (a *application) answer(message []byte) []byte {
	var m struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return nil
	}
	now := time.Now()
	switch m.Type {
	case "ping":
		return fmt.Appendf(nil, pong, now.UnixMilli())
	case "join", "resume", "renew":
		rtcToken, rtmToken, err := a.mint()
		if err != nil {
			return nil
		}
		expires := now.Add(lifetime).Unix()
		if m.Type == "renew" {
			return fmt.Appendf(nil, pushed, rtcToken, rtmToken, expires, now.UnixMilli())
		}
		return fmt.Appendf(nil, joined, rtcToken, rtmToken, expires, now.UnixMilli(), sampleSession, sampleKey)
	}
	return nil
}

type mint func() (rtcToken, rtmToken string, err error)

// refresherMint returns a function that mints tokens with refresher's token builder.
func refresherMint() mint {
	m, err := agora.NewMinter(appID, certificate)
	if err != nil {
		panic(err) // impossible: the credentials are valid
	}
	id := session.Identity{
		RTC: &session.RTC{Channel: "c", UID: 1, Role: session.Publisher},
		RTM: &session.RTM{UserID: "1"},
	}
	return func() (string, string, error) {
		now := session.SecOf(time.Now())
		t, err := m.Mint(id, session.Format007, now, now.Add(lifetime))
		if err != nil {
			return "", "", err
		}
		return t.RTC, t.RTM, nil
	}
}

// agoraMint mints with Agora's Go builder, as tutorials do.
func agoraMint() (rtcToken, rtmToken string, err error) {
	seconds := uint32(lifetime.Seconds())
	if rtcToken, err = rtc.BuildTokenWithUid(appID, certificate, "c", 1, rtc.RolePublisher, seconds, seconds); err == nil {
		rtmToken, err = rtm.BuildToken(appID, certificate, "1", seconds)
	}
	return rtcToken, rtmToken, err
}
