package webhooktest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The request was signed by other means:
//
//	printf '1800000000.{"id":"S.joined"}' | openssl dgst -sha256 -hmac "$secret"
const (
	secret    = "a secret of more than 16 bytes"
	timestamp = "1800000000"
	body      = `{"id":"S.joined"}`
	signature = "v1=5febad0b68025cc7cf7c36ce6a67ba05c992daafad7d3a010138347ae19d38fb"
)

func TestVerify(t *testing.T) {
	signedAt := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		secret, timestamp, signature, body string
		after                              time.Duration
		want                               string // in the error; empty for none
	}{
		"good":         {secret, timestamp, signature, body, 0, ""},
		"late":         {secret, timestamp, signature, body, time.Minute, ""},
		"early":        {secret, timestamp, signature, body, -time.Minute, ""},
		"among others": {secret, timestamp, "v2=x " + signature, body, 0, ""},
		"stale":        {secret, timestamp, signature, body, 61 * time.Second, "signed at"},
		"ahead":        {secret, timestamp, signature, body, -61 * time.Second, "signed at"},
		"other body":   {secret, timestamp, signature, body + " ", 0, "does not fit"},
		"other secret": {secret + "x", timestamp, signature, body, 0, "does not fit"},
		"other time":   {secret, "1800000001", signature, body, 0, "does not fit"},
		"no version":   {secret, timestamp, strings.TrimPrefix(signature, "v1="), body, 0, "does not fit"},
		"no signature": {secret, timestamp, "", body, 0, "does not fit"},
		"no timestamp": {secret, "", signature, body, 0, "Unix seconds"},
	} {
		header := http.Header{}
		header.Set("Refresher-Timestamp", c.timestamp)
		header.Set("Refresher-Signature", c.signature)
		err := Verify([]byte(c.secret), header, []byte(c.body), signedAt.Add(c.after), time.Minute)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, c.want)
		}
	}
}
