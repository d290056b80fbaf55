package edge

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func codeOf(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var refusal *Error
	if !errors.As(err, &refusal) {
		t.Fatalf("%v is not an *Error", err)
	}
	return refusal.Code
}

func TestAdmission(t *testing.T) {
	const hour = time.Hour
	with := func(m mint, change func(*mint)) string {
		change(&m)
		return m.token()
	}
	join := func(leg Leg, channel, user, token string) JoinRequest { return JoinRequest{leg, channel, user, token} }
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ts := now.Add(24 * hour).Unix()
		end := uint32(now.Add(hour).Unix())
		app := part{kind: 5, privileges: []uint32{2, 3600}, names: []string{""}}
		for _, c := range []struct {
			name string
			join JoinRequest
			want int
		}{
			{"uid", inRoom("7", rtc("7", hour)), 0},
			{"account", inRoom("Ann (1)", rtc("Ann (1)", hour)), 0},
			{"empty uid admits user unnamed", inRoom("", rtc("", hour)), 0},
			{"empty uid admits any", inRoom("7", rtc("", hour)), 0},
			{"uid written as 0", inRoom("0", rtc("0", hour)), 110},
			{"join privilege alone", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].privileges = []uint32{1, 3600} })), 0},
			{"privilege never ends", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].privileges = []uint32{1, 0} })), 0},
			{"second certificate", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.cert = secondCert })), 0},
			{"all services", join(RTM, "", "ann", with(rtc("7", hour), func(m *mint) {
				m.parts = append(m.parts, login(2, "ann", hour).parts[0],
					part{kind: 3, names: []string{"room", "7"}}, part{kind: 4, privileges: []uint32{1, 3600}}, app,
					part{kind: 6, names: []string{"room", "7"}}, part{kind: 7, names: []string{"r", "u"}, tail: put16(-1)})
			})), 0},
			{"wildcard channel admits to any", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].names[0] = "*" })), 0},
			{"rtm", join(RTM, "", "ann", login(2, "ann", hour).token()), 0},
			{"chat", join(Chat, "", "ann", login(5, "ann", hour).token()), 0},

			{"channel that begins like it, and a star", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].names[0] = "ro*" })), 110},
			{"other channel", join(RTC, "hall", "7", rtc("7", hour).token()), 110},
			{"other uid", inRoom("8", rtc("7", hour)), 110},
			{"other app", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.app = otherApp })), 101},
			{"unknown certificate", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.cert = "ff" + secondCert[2:] })), 110},
			{"no join privilege", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].privileges = []uint32{2, 3600, 3, 3600} })), 110},
			{"no such service", join(RTM, "", "7", rtc("7", hour).token()), 110},
			{"unknown service", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].kind = 9 })), 110},
			{"service twice", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts = append(m.parts, m.parts[0]) })), 110},
			{"privilege twice", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.parts[0].privileges = []uint32{1, 60, 1, 90} })), 110},
			{"signed bytes to spare", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.extra = []byte{0} })), 110},
			{"rtm other user", join(RTM, "", "ann", login(2, "bob", hour).token()), 110},
			{"chat app token", join(Chat, "", "ann", mint{expire: 3600, parts: []part{app}}.token()), 110},

			{"token over", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.issued = now.Add(-hour) })), 109},
			{"token a second before its end", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.issued = now.Add(-hour + time.Second) })), 0},
			{"token expire 0", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) { m.expire = 0 })), 109},
			{"privilege over", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) {
				m.issued, m.parts[0].privileges = now.Add(-time.Minute), []uint32{1, 60}
			})), 109},
			{"over although it says 48 h", join(RTC, "room", "7", with(rtc("7", 48*hour), func(m *mint) { m.issued = now.Add(-24 * hour) })), 109},

			{"006", join(RTC, "room", "7", mint006("room", "7", ts, 1, end)), 0},
			{"006 any uid", join(RTC, "room", "7", mint006("room", "", ts, 1, end)), 0},
			{"006 privilege never ends", join(RTC, "room", "7", mint006("room", "7", ts, 1, 0)), 0},
			{"006 uid written as 0", join(RTC, "room", "0", mint006("room", "0", ts, 1, end)), 110},
			{"006 other uid", join(RTC, "room", "8", mint006("room", "7", ts, 1, end)), 110},
			{"006 no join privilege", join(RTC, "room", "7", mint006("room", "7", ts, 2, end)), 110},
			{"006 privilege over", join(RTC, "room", "7", mint006("room", "7", ts, 1, uint32(now.Unix()))), 109},
			{"006 token over", join(RTC, "room", "7", mint006("room", "7", now.Unix(), 1, end)), 109},
			{"006 rtm", join(RTM, "", "ann", mint006("ann", "", ts, 1000, end)), 0},
			{"006 rtm with rtc's privilege", join(RTM, "", "ann", mint006("ann", "", ts, 1, end)), 110},
			{"006 chat", join(Chat, "", "ann", mint006("ann", "", ts, 1, end)), 110},
			{"006 other app", join(RTC, "room", "7", "006"+otherApp+mint006("room", "7", ts, 1, end)[35:]), 101},

			{"no token", join(RTC, "room", "7", ""), 110},
			{"005", join(RTC, "room", "7", "005"+rtc("7", hour).token()[3:]), 110},
			{"006 no base64", join(RTC, "room", "7", "006"+testApp+"-"), 110},
			{"not zlib", join(RTC, "room", "7", "007"+base64.StdEncoding.EncodeToString([]byte("no zlib"))), 110},
			{"line break", join(RTC, "room", "7", rtc("7", hour).token()+"\n"), 110},
			{"bytes after the compressed ones", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) {
				m.pack = func(plain []byte) []byte { return append(stored(plain), 0) }
			})), 110},
			{"no padding", join(RTC, "room", "7", strings.TrimRight(padded(rtc("7", hour)), "=")), 110},
			{"stray bits before the padding", join(RTC, "room", "7", stray(padded(rtc("7", hour)))), 110},
			{"whole, but over 2047 bytes", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) {
				m.pack = stored
				m.parts = append(m.parts, part{kind: 3, names: []string{strings.Repeat("x", 1500), ""}})
			})), 110},
			{"whole, just below", join(RTC, "room", "7", with(rtc("7", hour), func(m *mint) {
				m.pack = stored
				m.parts = append(m.parts, part{kind: 3, names: []string{strings.Repeat("x", 1300), ""}})
			})), 0},
			{"over 2047 bytes", join(RTC, "room", "7", rtc("7", hour).token()+strings.Repeat("A", 2048)), 110},

			{"no channel", join(RTC, "", "7", rtc("7", hour).token()), 2},
			{"channel too long", join(RTC, strings.Repeat("a", 65), "7", rtc("7", hour).token()), 2},
			{"channel with a slash", join(RTC, "a/b", "7", rtc("7", hour).token()), 2},
			{"user too long", join(RTC, "room", strings.Repeat("a", 256), rtc("7", hour).token()), 2},
			{"rtm reserved user", join(RTM, "", "null", login(2, "null", hour).token()), 2},
			{"rtm with channel", join(RTM, "room", "ann", login(2, "ann", hour).token()), 2},
			{"no user", join(Chat, "", "", login(5, "ann", hour).token()), 2},
			{"no leg", join("", "room", "7", rtc("7", hour).token()), 2},
		} {
			e, err := New(Config{AppID: testApp, Certificate: testCert, SecondaryCertificate: secondCert})
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Join(c.join)
			if codeOf(t, err) != c.want {
				t.Errorf("%s: got %v, want code %d", c.name, err, c.want)
			}
			if text := fmt.Sprint(err); strings.Contains(text, testCert) || len(c.join.Token) > 40 && strings.Contains(text, c.join.Token[3:40]) {
				t.Errorf("%s: a secret is in %s", c.name, text)
			}
			e.Close()
		}
	})
}

// padded adds a service to a token so that its base64 ends with "=".
func padded(m mint) string {
	m.pack = stored
	m.parts = append(m.parts, part{kind: 2, names: []string{""}})
	for !strings.HasSuffix(m.token(), "=") {
		m.parts[len(m.parts)-1].names[0] += "x"
	}
	return m.token()
}

// stray changes the unused bits of the last base64 digit, which lenient decoders ignore.
func stray(token string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	body := strings.TrimRight(token, "=")
	last := strings.IndexByte(digits, body[len(body)-1])
	return body[:len(body)-1] + digits[last^1:(last^1)+1] + token[len(body):]
}

// A token with one changed bit, or without its last bytes, is refused.
func TestWholeTokenIsSigned(t *testing.T) {
	keys := keyring{appID: testApp, certificates: []string{testCert}}
	token006 := mint006("room", "7", 2e9, 1, 2e9)
	raw006, err := base64.StdEncoding.DecodeString(token006[35:])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		raw   []byte
		token func(raw []byte) string
	}{
		"007": {rtc("7", time.Hour).plain(), func(raw []byte) string { return "007" + base64.StdEncoding.EncodeToString(stored(raw)) }},
		"006": {raw006, func(raw []byte) string { return token006[:35] + base64.StdEncoding.EncodeToString(raw) }},
	} {
		passes := func(raw []byte) bool {
			_, refusal := keys.verify(c.token(raw), identity{RTC, "room", "7"})
			return refusal == nil
		}
		if !passes(c.raw) {
			t.Errorf("%s: the unchanged token is refused", name)
		}
		for i := range 8 * len(c.raw) {
			changed := bytes.Clone(c.raw)
			changed[i/8] ^= 1 << (i % 8)
			if passes(changed) || passes(c.raw[:i/8]) {
				t.Errorf("%s passes with bit %d flipped, or cut there", name, i)
			}
		}
	}
}

func TestZlibBomb(t *testing.T) {
	m := rtc("7", time.Hour)
	m.extra = make([]byte, 1<<20)
	if _, refusal := parse007(m.token()); refusal == nil || !strings.Contains(refusal.Text, "inflates to more") {
		t.Errorf("got %v", refusal)
	}
}

func TestConfig(t *testing.T) {
	for name, config := range map[string]Config{
		"no certificate":        {AppID: testApp},
		"app id not hex":        {AppID: "x" + testApp[1:], Certificate: testCert},
		"short certificate":     {AppID: testApp, Certificate: testCert[1:]},
		"wrong second":          {AppID: testApp, Certificate: testCert, SecondaryCertificate: "x"},
		"warning after the end": {AppID: testApp, Certificate: testCert, WarnBefore: -time.Second},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	e := newEdge(t)
	defer e.Close()
	for _, wrong := range [][2]string{{"", secondCert}, {secondCert, "short"}, {testCert + "0", ""}} {
		if err := e.SetCertificates(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q were taken", wrong)
		}
	}
	mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
}
