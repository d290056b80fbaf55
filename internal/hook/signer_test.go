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
// where key is c0ffee eight times, the base64 of which is in prefixedSecret.
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

// A secret that is too short or malformed is refused with an error that names the flag and does not contain
// the secret.
func TestSecretsThatCannotBeMeant(t *testing.T) {
	const base64Of24 = "aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo" // base64 of "hush" six times
	for secret, want := range map[string]string{
		"":                                  "want at least 24 bytes, have 0",
		"hush, hush, hush, hush":            "want at least 24 bytes, have 22",
		"whsec":                             "want at least 24 bytes, have 5",
		"whsec_":                            "want the base64 of 24 to 64 bytes behind whsec_, have that of 0",
		"whsec_aHVzaGh1c2g=":                "want the base64 of 24 to 64 bytes behind whsec_, have that of 8",
		"whsec_" + base64Of24[:28] + "aHU=": "want the base64 of 24 to 64 bytes behind whsec_, have that of 23",
		"whsec_" + strings.Repeat(base64Of24, 2) + "aHVzaGh1c2hodXNoaHVzaHU=": "want the base64 of 24 to 64 bytes behind whsec_, have that of 65",
		"whsec_hush-hush, which is text, not base64":                          "what follows whsec_ is not base64",
		"whsec_" + base64Of24 + "a":                                           "what follows whsec_ is not base64",
		"whsec_" + base64Of24 + "aHVz=":                                       "what follows whsec_ is not base64",
		"whsec_" + base64Of24 + "aHVzaGh1c2g":                                 "what follows whsec_ is not base64", // padding is missing
		"whsec_" + base64Of24 + "aB==":                                        "what follows whsec_ is not base64", // base64 with unused bits set
		"whsec_" + base64Of24 + "_-_-":                                        "what follows whsec_ is not base64", // base64 for URLs
		"whsec_" + base64Of24[:16] + "\n" + base64Of24[16:] + " ":             "what follows whsec_ is not base64",
	} {
		for flag, c := range map[string]Config{
			"x-secret: ":          {Secret: secret},
			"x-previous-secret: ": {Secret: testSecret, PreviousSecret: secret},
		} {
			if secret == "" && c.Secret != "" {
				continue // an empty previous secret is valid
			}
			c.URL = "https://app.test"
			_, err := newEndpoint("x", &c, limits{})
			if err == nil || !strings.HasPrefix(err.Error(), flag+want) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "aHVz") {
				t.Errorf("%q: %v, want %s%s", secret, err, flag, want)
			}
		}
	}
}

func TestSecretsOfAnyLengthAllowed(t *testing.T) {
	for _, secret := range []string{
		strings.Repeat("a", 24), strings.Repeat("a", 1000), "WHSEC_" + strings.Repeat("!", 24),
		"whsec_" + strings.Repeat("a", 32), "whsec_" + strings.Repeat("a", 84) + "aA==",
	} {
		if _, err := newEndpoint("x", &Config{URL: "https://app.test", Secret: secret, PreviousSecret: secret}, limits{}); err != nil {
			t.Errorf("%q: %v", secret, err)
		}
	}
}
