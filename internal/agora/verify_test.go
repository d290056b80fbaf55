package agora

import (
	"bytes"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"refresher/internal/session"
)

func TestVerify(t *testing.T) {
	const other = "00000000000000000000000000000000"
	named := session.RTC{Channel: "daily", Account: "ana"}
	wildcard := session.RTC{Channel: "daily"}
	for _, c := range []struct {
		name        string
		token       func(m testMinter) (string, error)
		certificate string
		holder      Holder
		want006     error
		want007     error
	}{
		{"rtc", rtcToken(named), certificate, Holder{"daily", "ana"}, nil, nil},
		{"rtc, other certificate", rtcToken(named), other, Holder{"daily", "ana"}, ErrSignature, ErrSignature},
		{"rtc, certificate in lower case", rtcToken(named), strings.ToLower(certificate), Holder{"daily", "ana"}, ErrSignature, ErrSignature},
		{"rtc, no certificate", rtcToken(named), "", Holder{"daily", "ana"}, ErrSignature, ErrSignature},
		{"rtc, long certificate", rtcToken(named), strings.Repeat(certificate, 100), Holder{"daily", "ana"}, ErrSignature, ErrSignature},
		{"rtc, other channel", rtcToken(named), certificate, Holder{"weekly", "ana"}, ErrChannel, ErrChannel},
		{"rtc, other user", rtcToken(named), certificate, Holder{"daily", "bob"}, ErrUser, ErrUser},
		{"rtc, split elsewhere", rtcToken(named), certificate, Holder{"dailya", "na"}, ErrChannel, ErrChannel},
		{"rtc, no holder", rtcToken(named), certificate, Holder{}, ErrNoHolder, nil},
		{"rtc, no channel", rtcToken(named), certificate, Holder{User: "ana"}, ErrChannel, nil},
		{"rtc, no user", rtcToken(named), certificate, Holder{Channel: "daily"}, ErrUser, nil},
		{"wildcard, no user", rtcToken(wildcard), certificate, Holder{Channel: "daily"}, nil, nil},
		{"wildcard, any user", rtcToken(wildcard), certificate, Holder{"daily", "77"}, nil, nil},
		{"wildcard, other channel", rtcToken(wildcard), certificate, Holder{"weekly", "77"}, ErrChannel, ErrChannel},
		{"rtm", rtmToken("ana"), certificate, Holder{User: "ana"}, nil, nil},
		{"rtm in a channel", rtmToken("ana"), certificate, Holder{"daily", "ana"}, nil, nil},
		{"rtm, no holder", rtmToken("ana"), certificate, Holder{}, ErrNoHolder, nil},
		{"rtm, other user", rtmToken("ana"), certificate, Holder{User: "bob"}, ErrUser, ErrUser},
		{"rtm, other certificate", rtmToken("ana"), other, Holder{User: "ana"}, ErrSignature, ErrSignature},
		{"chat", chatToken("ana"), certificate, Holder{User: "ana"}, nil, nil},
		{"chat, other user", chatToken("ana"), certificate, Holder{User: "bob"}, ErrUser, ErrUser},
		{"chat application", chatToken(""), certificate, Holder{User: "bob"}, nil, nil},
	} {
		for v, want := range map[Version]error{V006: c.want006, V007: c.want007} {
			token := must(Parse(must(c.token(newMinter(t, v)))(t)))(t)
			if err := token.Verify(c.certificate, c.holder); !errors.Is(err, want) {
				t.Errorf("%s, %s: got %v, want %v", v, c.name, err, want)
			}
		}
	}
}

func rtcToken(r session.RTC) func(testMinter) (string, error) {
	return func(m testMinter) (string, error) { return m.mintRTC(r, now, now+60) }
}

func rtmToken(user string) func(testMinter) (string, error) {
	return func(m testMinter) (string, error) { return m.mintRTM(session.RTM{UserID: user}, now, now+60) }
}

func chatToken(user string) func(testMinter) (string, error) {
	return func(m testMinter) (string, error) { return m.MintChat(session.Chat{UserID: user}, now, now+60) }
}

func TestVerifyNoServices(t *testing.T) {
	token := must(Parse(wrap(content007(&Token{Version: V007, AppID: appID}))))(t)
	if err := token.Verify(certificate, Holder{}); !errors.Is(err, ErrSignature) {
		t.Errorf("under a signature of zeros: %v", err)
	}
	key := signingKey(certificate, 0, 0)
	signature := hmacSHA256(key[:], token.signed)
	token.signature = signature[:]
	if err := token.Verify(certificate, Holder{Channel: "c", User: "u"}); err != nil {
		t.Error(err)
	}
}

// TestTamperedContent changes each byte of the signed part and of the signature in well-formed tokens.
func TestTamperedContent(t *testing.T) {
	for name, mint := range tamperTargets {
		token := must(Parse(must(mint(newMinter(t, V007)))(t)))(t)
		content := append(bytes.Clone(token.signature), token.signed...)
		for i := range content {
			for bit := range 8 {
				changed := bytes.Clone(content)
				changed[i] ^= 1 << bit
				refuse(t, name, encode(changed[:32], changed[32:]))
			}
		}
	}
	for name, mint := range tamperTargets {
		text := must(mint(newMinter(t, V006)))(t)
		if !strings.HasPrefix(text, "006") {
			continue
		}
		content := must(base64.StdEncoding.DecodeString(text[3+32:]))(t)
		for i := range content {
			for bit := range 8 {
				changed := bytes.Clone(content)
				changed[i] ^= 1 << bit
				refuse(t, name, wrap006(changed))
			}
		}
	}
}

var tamperTargets = map[string]func(testMinter) (string, error){
	"rtc":  rtcToken(session.RTC{Channel: "daily", Account: "ana", Role: session.Publisher}),
	"rtm":  rtmToken("ana"),
	"chat": chatToken("ana"),
}

func refuse(t *testing.T, name, text string) {
	t.Helper()
	token, err := Parse(text)
	if err != nil {
		return
	}
	if err := token.Verify(certificate, Holder{Channel: "daily", User: "ana"}); err == nil {
		t.Fatalf("%s: accepted %s", name, text)
	}
}

// TestTamperedText changes each character of a token. Either it is refused, or
// it still says and signs the same: the five unused bits of a stored deflate
// block's header are free.
func TestTamperedText(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	for name, mint := range tamperTargets {
		for _, v := range []Version{V006, V007} {
			text := must(mint(newMinter(t, v)))(t)
			original := must(Parse(text))(t)
			same := 0
			for i := range text {
				for j := 0; j < len(alphabet); j += 3 {
					changed := text[:i] + alphabet[j:j+1] + text[i+1:]
					token, err := Parse(changed)
					if err != nil || token.Verify(certificate, Holder{Channel: "daily", User: "ana"}) != nil || changed == text {
						continue
					}
					if !reflect.DeepEqual(token, original) {
						t.Fatalf("%s: accepted %s for %s", name, changed, text)
					}
					same++
				}
			}
			if original.Version == V006 && same > 0 || same > 7 {
				t.Errorf("%s %s: %d changes went unnoticed", v, name, same)
			}
		}
	}
}
