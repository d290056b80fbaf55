package edge

import (
	"encoding/base64"
	"testing"
	"time"
)

// known has the codes with which the simulated edge may refuse a token in these tests.
var known = map[int]bool{CodeInvalidAppID: true, CodeInvalidToken: true}

// FuzzToken verifies arbitrary tokens: none may cause a panic, and no token of version 006 may be admitted but
// Agora's test vectors.
func FuzzToken(f *testing.F) {
	honest := map[string]bool{}
	for _, v := range readVectors(f) {
		honest[v.Token] = true
		f.Add(v.Token)
	}
	f.Add("")
	f.Add("006")
	f.Add("007")
	f.Add("006" + testApp)
	f.Add("007eJxSYBBbsMM=")
	keys := keyring{appID: testApp, certificates: []string{testCert}}
	f.Fuzz(func(t *testing.T, token string) {
		for _, who := range everyone {
			_, refusal := keys.verify(token, who)
			if refusal == nil && token[:3] == "006" && !honest[token] {
				t.Errorf("admitted as %v", who) // no other 006 token can be valid, since each has only one possible form
			}
			if refusal != nil && !known[refusal.Code] {
				t.Errorf("refused with %v", refusal)
			}
		}
	})
}

// FuzzBody signs and packs arbitrary bodies of 007 tokens, so that the fuzzer reaches the parser behind base64, zlib
// and the signature.
func FuzzBody(f *testing.F) {
	m := rtc("7", time.Hour)
	m.issued = time.Unix(2e9, 0)
	f.Add(m.body())
	m.parts = append(m.parts, login(2, "ann", time.Hour).parts[0], part{kind: 4}, part{kind: 7, names: []string{"r", "u"}, tail: put16(1)})
	f.Add(m.body())
	f.Add([]byte{})
	keys := keyring{appID: testApp, certificates: []string{testCert}}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxToken {
			return
		}
		plain := append(putString(string(mac([]byte("wrong"), body))), body...)
		if n := 2 + len(testApp) + 12; len(body) >= n {
			head := 2 + len(testApp)
			key := mac(body[head+8:head+12], mac(body[head:head+4], []byte(testCert)))
			plain = append(putString(string(mac(key, body))), body...)
		}
		token := "007" + base64.StdEncoding.EncodeToString(stored(plain))
		for _, who := range everyone {
			g, refusal := keys.verify(token, who)
			if refusal == nil && (g.runOut(g.ends()) == nil || g.publishing(g.ends())) {
				t.Errorf("still good at its end: %+v", g)
			}
			if refusal != nil && !known[refusal.Code] {
				t.Errorf("refused with %v", refusal)
			}
		}
	})
}

var everyone = []identity{
	{RTC, vectorChannel, vectorUser}, {RTC, "room", "7"}, {RTC, "room", anonymous}, {RTM, "", "test_user"}, {Chat, "", "ann"},
}
