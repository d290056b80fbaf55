package agora

import (
	"bytes"
	"encoding/base64"
	"errors"
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
		{"rtc, other channel", rtcToken(named), certificate, Holder{"weekly", "ana"}, ErrChannel, ErrChannel},
		{"rtc, other user", rtcToken(named), certificate, Holder{"daily", "bob"}, ErrUser, ErrUser},
		{"rtc, split elsewhere", rtcToken(named), certificate, Holder{"dailya", "na"}, ErrChannel, ErrChannel},
		{"rtc, no holder", rtcToken(named), certificate, Holder{}, ErrNoHolder, nil},
		{"rtc, no user", rtcToken(named), certificate, Holder{Channel: "daily"}, ErrUser, nil},
		{"wildcard, no user", rtcToken(wildcard), certificate, Holder{Channel: "daily"}, nil, nil},
		{"wildcard, any user", rtcToken(wildcard), certificate, Holder{"daily", "77"}, nil, nil},
		{"rtm", rtmToken("ana"), certificate, Holder{User: "ana"}, nil, nil},
		{"rtm, no holder", rtmToken("ana"), certificate, Holder{}, ErrNoHolder, nil},
		{"rtm, other user", rtmToken("ana"), certificate, Holder{User: "bob"}, ErrUser, ErrUser},
		{"chat", chatToken("ana"), certificate, Holder{User: "ana"}, nil, nil},
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
	token := must(Parse(sign007(&Token{})))(t)
	if err := token.Verify(certificate, Holder{Channel: "c", User: "u"}); err != nil {
		t.Error(err)
	}
}

// TestTamperedContent changes each bit of the signature and of the signed part. In a 006 token it also changes each bit
// of the checksums.
func TestTamperedContent(t *testing.T) {
	content7 := func(t *Token) []byte { return append(bytes.Clone(t.signature), t.signed...) }
	encode7 := func(content []byte) string { return encode(content[:32], content[32:]) }
	for name, mint := range map[string]func(testMinter) (string, error){
		"rtc":  rtcToken(session.RTC{Channel: "daily", Account: "ana", Role: session.Publisher}),
		"rtm":  rtmToken("ana"),
		"chat": chatToken("ana"),
	} {
		for _, v := range []Version{V006, V007} {
			text := must(mint(newMinter(t, v)))(t)
			encode, content := encode7, content7(must(Parse(text))(t))
			if strings.HasPrefix(text, "006") {
				encode, content = wrap006, must(base64.StdEncoding.DecodeString(text[3+hexDigits:]))(t)
			}
			for i := range content {
				for bit := range 8 {
					changed := bytes.Clone(content)
					changed[i] ^= 1 << bit
					token, err := Parse(encode(changed))
					if err == nil && token.Verify(certificate, Holder{Channel: "daily", User: "ana"}) == nil {
						t.Fatalf("%s %s: accepted %x for %x", v, name, changed, content)
					}
				}
			}
		}
	}
}
