package hook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The expected signatures were made with openssl:
//
//	printf 'S-joined.1800000000.{"id":"S-joined"}' | openssl dgst -sha256 -hmac "$testSecret" -binary | base64
//	printf 'S-joined.1800000000.{"id":"S-joined"}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:"$key" -binary | base64
//
// where key is c0ffee eight times. The base64 of key is in prefixedSecret.
const (
	signedByTestSecret     = "v1,dOaxMa1Q0pknyKegc+8SFjYPkezk7PY0TZueTCVcmKs="
	signedByPrefixedSecret = "v1,qfUoWb/eVfbLWfC8iVz4bW2dHB2cvRi0Nlhc0FLZdTs="
)

func TestSign(t *testing.T) {
	for _, c := range []struct{ secret, previous, want string }{
		{testSecret, "", signedByTestSecret},
		{prefixedSecret, "", signedByPrefixedSecret},
		{prefixedSecret, testSecret, signedByPrefixedSecret + " " + signedByTestSecret},
	} {
		s, err := newSigner("x", c.secret, c.previous)
		if err != nil {
			t.Fatal(err)
		}
		got := http.Header{}
		if err := s.sign(got, "S-joined", time.Unix(1_800_000_000, 999_999_999), []byte(`{"id":"S-joined"}`)); err != nil {
			t.Fatal(err)
		}
		want := http.Header{"Webhook-Id": {"S-joined"}, "Webhook-Timestamp": {"1800000000"}, "Webhook-Signature": {c.want}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q and %q: %s", c.secret, c.previous, diff)
		}
	}
}

// A secret that is probably a mistake is refused. The error names the flag and contains no part of
// the secret.
func TestSecretsThatCannotBeMeant(t *testing.T) {
	const (
		base64Of24 = "aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo" // base64 of "hush" six times
		size       = "want 24 to 64 bytes in base64 after whsec_, have "
		form       = "the text after whsec_ is not base64; want 24 to 64 bytes in base64, for example from openssl rand -base64 32"
	)
	for secret, want := range map[string]string{
		"hush, hush, hush, hush":            "want at least 24 bytes, have 22",
		"whsec_":                            size + "0",
		"whsec_" + base64Of24[:28] + "aHU=": size + "23",
		"whsec_" + strings.Repeat(base64Of24, 2) + "aHVzaGh1c2hodXNoaHVzaHU=": size + "65",
		"whsec_hush-hush, which is text, not base64":                          form,
		"whsec_" + base64Of24 + "aHVzaGh1c2g":                                 form, // without the padding
		"whsec_" + base64Of24 + "aB==":                                        form, // the unused bits of the last character are not zero
		"whsec_" + base64Of24 + "_-_-":                                        form, // the alphabet of base64 for URLs
		strings.Repeat("a", 24):                                               "",
		strings.Repeat("a", 1000):                                             "",
		"WHSEC_" + strings.Repeat("!", 24):                                    "",
		"whsec_" + strings.Repeat("a", 32):                                    "",
		"whsec_" + strings.Repeat("a", 84) + "aA==":                           "",
	} {
		_, err := newSigner("x", secret, "")
		_, errPrevious := newSigner("x", testSecret, secret)
		for flag, err := range map[string]error{"x-secret: ": err, "x-previous-secret: ": errPrevious} {
			if want == "" && err != nil || want != "" && (err == nil || err.Error() != flag+want) {
				t.Errorf("%s: %v, want %s%s", secret, err, flag, want)
			}
		}
	}
	if _, err := newSigner("x", "", ""); err == nil || !strings.HasPrefix(err.Error(), "x-secret: is missing; want a secret of at least 24 bytes") {
		t.Error(err)
	}
}
