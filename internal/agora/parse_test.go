package agora

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"refresher/internal/session"
)

// wrap makes a 007 token with any bytes as its content.
func wrap(content []byte) string {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression)
	_, _ = w.Write(content)
	_ = w.Close()
	return "007" + base64.StdEncoding.EncodeToString(b.Bytes())
}

// content007 returns the uncompressed content of a 007 token with a signature of zeros.
func content007(t *Token) []byte {
	return append(appendString(nil, string(make([]byte, 32))), encodeSigned(t)...)
}

// content006 returns the content of a 006 token after the App ID, with a signature of zeros.
func content006(message []byte) []byte {
	b := append(appendString(nil, string(make([]byte, 32))), make([]byte, 8)...)
	return appendString(b, string(message))
}

func wrap006(content []byte) string {
	return "006" + appID + base64.StdEncoding.EncodeToString(content)
}

func TestParseRefusals(t *testing.T) {
	good := &Token{
		Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, Salt: 1,
		Services: []Service{{Type: ServiceRTC, Channel: "c", User: "u", Privileges: []Privilege{{ID: 1, ExpiresAt: now + 60}}}},
	}
	with := func(change func(*Token)) string {
		bad := *good
		change(&bad)
		return wrap(content007(&bad))
	}
	content := content007(good)
	message := encodeSigned(&Token{Version: V006, ValidUntil: now, Services: []Service{{}}})
	stored := paddedToken(t)
	stream := must(base64.StdEncoding.DecodeString(stored[3:]))(t)

	for _, c := range []struct{ name, token, want string }{
		{"empty", "", `begins with neither "007" nor "006"; want one of them`},
		{"too long", "007" + strings.Repeat("A", 2045), "2048 characters long; want 2047 at most"},

		{"007 alone", "007", "content is no zlib stream; want it exactly as it was issued"},
		{"not base64", "007!!!!", "not padded standard base64; want it exactly as it was issued"},
		{"line break", stored[:40] + "\n" + stored[40:], "not padded standard base64; want it exactly as it was issued"},
		{"not zlib", "007AAAA", "content is no zlib stream; want it exactly as it was issued"},
		{"zlib cut short", "007" + stored[3:43], "zlib stream is damaged or truncated; want it exactly as it was issued"},
		{"zlib and more", "007" + base64.StdEncoding.EncodeToString(append(stream, 1, 2, 3)), "bytes after its zlib stream: 3; want none"},

		{"empty content", wrap(nil), "truncated; want all of it"},
		{"no body", wrap(content[:34]), "truncated; want all of it"},
		{"no service count", wrap(content[:34+46]), "truncated; want all of it"},
		{"byte too many", wrap(append(content, 0)), "bytes after its end: 1; want none"},
		{"app id not hex", with(func(t *Token) { t.AppID = "g" + appID[1:] }), "app id: not hexadecimal; want 32 hex digits"},
		{
			"unknown service", with(func(t *Token) { t.Services = []Service{{Type: 8}} }),
			"service type 8; want 1 (RTC), 2 (RTM), 4 (FPA), 5 (Chat) or 7 (APaaS)",
		},
		{"17 services", with(func(t *Token) { t.Services = make([]Service, 17) }), "17 services; want 16 at most"},
		{"privilege twice", with(func(t *Token) {
			t.Services = []Service{{Type: ServiceFPA, Privileges: []Privilege{{ID: 2}, {ID: 1}, {ID: 2}}}}
		}), "privilege 2 is listed twice; want it once"},
		{"65 privileges", with(func(t *Token) {
			t.Services = []Service{{Type: ServiceFPA, Privileges: make([]Privilege, 65)}}
		}), "65 privileges in a service; want 64 at most"},

		{"006 alone", "006", "truncated; want all of it"},
		{"006 not base64", "006" + appID + "=", "not padded standard base64; want it exactly as it was issued"},
		{"006 no checksums", wrap006(content006(message)[:34]), "truncated; want all of it"},
		{"006 message long", wrap006(content006(append(message, 1, 2))), "bytes after its end: 2; want none"},
		{"006 content long", wrap006(append(content006(message), 1)), "bytes after its end: 1; want none"},
		{"006 privilege missing", wrap006(content006(append(message[:8:8], 1, 0))), "truncated; want all of it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := Parse(c.token)
			if token != nil {
				t.Errorf("got %+v", token)
			}
			wantBadRequest(t, err, "token: "+c.want)
		})
	}
	if _, err := Parse(wrap(content)); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// paddedToken returns a token of this package whose base64 text ends with padding.
func paddedToken(t *testing.T) string {
	t.Helper()
	text := must(newMinter(t, V007).mintRTM(session.RTM{UserID: "ana b"}, now, now+60))(t)
	if !strings.HasSuffix(text, "=") {
		t.Fatalf("want a padded token, got %s", text)
	}
	return text
}

// TestParseForeignPrivileges reads privileges that Agora's builders do not write: privileges that are out of order, and
// in a 006 token a privilege of RTM between privileges of RTC.
func TestParseForeignPrivileges(t *testing.T) {
	shuffled := &Token{
		Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, Salt: 1,
		Services: []Service{{Type: ServiceFPA, Privileges: []Privilege{{ID: 7}, {ID: 1}, {ID: 3}}}},
	}
	got := must(Parse(wrap(content007(shuffled))))(t).Services[0].Privileges
	if want := []Privilege{{ID: 1, Name: "login"}, {ID: 3}, {ID: 7}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	mixed := encodeSigned(&Token{Version: V006, ValidUntil: now, Services: []Service{
		{Privileges: []Privilege{{ID: 1000, ExpiresAt: now - 1}, {ID: 1}}},
	}})
	token := must(Parse(wrap006(content006(mixed))))(t)
	wantFields(t, token, &Token{
		Version: V006, AppID: appID, IssuedAt: now - 86400, ValidUntil: now, ExpiresAt: now - 1,
		Services:  []Service{{Type: ServiceRTC, Privileges: []Privilege{{ID: 1, Name: "join"}, {ID: 1000, ExpiresAt: now - 1}}}},
		Checksums: &Checksums{},
	})
}

// A small token that inflates to a large content is refused before most of it is inflated.
func TestParseBomb(t *testing.T) {
	bomb := wrap(make([]byte, 1500<<10))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(bomb)
	runtime.ReadMemStats(&after)
	wantBadRequest(t, err, "token: inflates to over 4096 bytes; want that at most")
	if n := after.TotalAlloc - before.TotalAlloc; n > 128<<10 {
		t.Errorf("%d bytes allocated for %d characters", n, len(bomb))
	}
}

func TestTokenJSON(t *testing.T) {
	token := &Token{
		Version: V007, AppID: appID, IssuedAt: now, ValidUntil: now + 60, Salt: 5,
		Services: []Service{
			{Type: ServiceRTC, Channel: "c", User: "7", Privileges: []Privilege{{ID: 1, ExpiresAt: now + 60}, {ID: 9}}},
			{Type: ServiceAPaaS, Room: "r", User: "u", Role: -1, Privileges: []Privilege{{ID: 3, ExpiresAt: now + 30}}},
		},
	}
	got := string(must(json.Marshal(must(Parse(wrap(content007(token))))(t)))(t))
	want := `{"version":"007","appId":"970CA35de60c44645bbae8a215061b33",` +
		`"issuedAt":1700000000,"validUntil":1700000060,"expiresAt":1700000030,"salt":5,"services":[` +
		`{"type":"rtc","privileges":[{"id":1,"name":"join","expiresAt":1700000060},{"id":9,"expiresAt":0}],"channel":"c","user":"7"},` +
		`{"type":"apaas","privileges":[{"id":3,"name":"app","expiresAt":1700000030}],"user":"u","room":"r","role":-1}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	got = string(must(json.Marshal(must(Parse(vectors(t)[0].Token))(t)))(t))
	want = `{"version":"006","appId":"970CA35de60c44645bbae8a215061b33",` +
		`"issuedAt":1024711,"validUntil":1111111,"expiresAt":1111111,"salt":1,` +
		`"services":[{"type":"rtc","privileges":[{"id":1,"name":"join","expiresAt":1446455471}]}],` +
		`"checksums":{"channel":276646071,"user":3847331927}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzParse looks for panics, for results beyond the limits, and for fields that change when they
// are encoded and parsed again.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Token)
		f.Add(v.Token[:len(v.Token)/2])
	}
	f.Add("")
	f.Add(wrap(make([]byte, 1<<20)))
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			if refusal := new(session.Error); !errors.As(err, &refusal) || token != nil || len(err.Error()) > 200 {
				t.Fatalf("refused with %+v, %v", token, err)
			}
			return
		}
		if len(token.Services) > maxServices || len(token.signed) > maxContent || len(token.signature) != 32 {
			t.Fatalf("beyond the bounds: %+v", token)
		}
		if again := must(Parse(text))(t); !reflect.DeepEqual(again, token) {
			t.Fatalf("read twice: %+v, then %+v", token, again)
		}
		_ = token.Verify(certificate, Holder{Channel: "daily", User: "ana"})
		_ = must(json.Marshal(token))(t)

		rewritten := wrap(content007(token))
		if token.Version == V006 {
			sums := token.Checksums
			content := binary.LittleEndian.AppendUint32(appendString(nil, string(token.signature)), sums.Channel)
			content = binary.LittleEndian.AppendUint32(content, sums.User)
			content = appendString(content, string(encodeSigned(token)))
			rewritten = "006" + token.AppID + base64.StdEncoding.EncodeToString(content)
		}
		if len(rewritten) <= maxTokenLength {
			wantFields(t, must(Parse(rewritten))(t), token)
		}
	})
}
