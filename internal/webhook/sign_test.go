package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vector is a request that was signed by other means:
//
//	printf '1800000000.{"id":"S.joined"}' | openssl dgst -sha256 -hmac "$secret"
var vector = struct {
	secret, timestamp, body, signature string
}{
	"a secret of more than 16 bytes", "1800000000", `{"id":"S.joined"}`,
	"v1=5febad0b68025cc7cf7c36ce6a67ba05c992daafad7d3a010138347ae19d38fb",
}

var testSecret = []byte("a secret of more than 16 bytes")

func TestSign(t *testing.T) {
	if got := sign([]byte(vector.secret), vector.timestamp, []byte(vector.body)); got != vector.signature {
		t.Errorf("signature %s, want %s", got, vector.signature)
	}
}

func TestVerify(t *testing.T) {
	secret, body := vector.secret, vector.body
	hex := strings.TrimPrefix(vector.signature, "v1=")
	signedAt := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		secret, timestamp, signature, body string
		after                              time.Duration
		want                               string // in the error; empty for none
	}{
		"good":            {secret, vector.timestamp, vector.signature, body, 0, ""},
		"late":            {secret, vector.timestamp, vector.signature, body, 5 * time.Minute, ""},
		"early":           {secret, vector.timestamp, vector.signature, body, -5 * time.Minute, ""},
		"among others":    {secret, vector.timestamp, "v1=" + strings.Repeat("0", 64) + " v2=x " + vector.signature, body, 0, ""},
		"stale":           {secret, vector.timestamp, vector.signature, body, 301 * time.Second, "signed at"},
		"ahead":           {secret, vector.timestamp, vector.signature, body, -301 * time.Second, "signed at"},
		"other body":      {secret, vector.timestamp, vector.signature, `{"id":"T.joined"}`, 0, "does not fit"},
		"no body":         {secret, vector.timestamp, vector.signature, "", 0, "does not fit"},
		"other secret":    {secret + "x", vector.timestamp, vector.signature, body, 0, "does not fit"},
		"other time":      {secret, "1800000001", vector.signature, body, 0, "does not fit"},
		"upper case":      {secret, vector.timestamp, "v1=" + strings.ToUpper(hex), body, 0, "does not fit"},
		"other version":   {secret, vector.timestamp, "v2=" + hex, body, 0, "does not fit"},
		"no version":      {secret, vector.timestamp, hex, body, 0, "does not fit"},
		"cut off":         {secret, vector.timestamp, vector.signature[:60], body, 0, "does not fit"},
		"blank":           {secret, vector.timestamp, " ", body, 0, "does not fit"},
		"no signature":    {secret, vector.timestamp, "", body, 0, "not signed"},
		"no timestamp":    {secret, "", vector.signature, body, 0, "not signed"},
		"not a timestamp": {secret, "now", vector.signature, body, 0, "Unix seconds"},
		"no secret":       {"", vector.timestamp, vector.signature, body, 0, "16 bytes"},
	} {
		header := http.Header{}
		header.Set(HeaderTimestamp, c.timestamp)
		header.Set(HeaderSignature, c.signature)
		err := Verify([]byte(c.secret), header, []byte(c.body), signedAt.Add(c.after), 5*time.Minute)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one that says %q", name, err, c.want)
		case err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), hex)):
			t.Errorf("%s: error gives it away: %v", name, err)
		}
	}
	if err := Verify([]byte(secret), http.Header{}, []byte(body), signedAt, time.Hour); err == nil {
		t.Error("a request without headers is accepted")
	}
}

// FuzzVerify: nothing but what sign makes is accepted, and nothing panics.
func FuzzVerify(f *testing.F) {
	f.Add(vector.timestamp, vector.signature, []byte(vector.body))
	f.Add("-9223372036854775808", "v1= v1=", []byte{})
	f.Fuzz(func(t *testing.T, timestamp, signature string, body []byte) {
		header := http.Header{HeaderTimestamp: {timestamp}, HeaderSignature: {signature}}
		now := time.Unix(1_800_000_000, 0)
		err := Verify(testSecret, header, body, now, time.Minute)
		if err != nil {
			return
		}
		if !strings.Contains(signature, sign(testSecret, timestamp, body)) {
			t.Errorf("accepted %q", signature)
		}
		if seconds, err := strconv.ParseInt(timestamp, 10, 64); err != nil || seconds < now.Unix()-60 || seconds > now.Unix()+60 {
			t.Errorf("accepted at %q", timestamp)
		}
	})
}
