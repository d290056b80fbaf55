package agora

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"refresher/internal/session"
)

// vector is a token from Agora's test suites, with some of its fields. Expire is relative to IssueTS; TS is 24 hours
// after the issue.
type vector struct {
	Token, From string
	Decoded     struct {
		V                   Version
		AppID               string
		Salt                uint32
		TS, IssueTS, Expire session.UnixSec
	}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	var file struct {
		AppID, AppCertificate string
		Vectors               []vector
	}
	if err := json.Unmarshal(must(os.ReadFile("testdata/vectors.json"))(t), &file); err != nil {
		t.Fatal(err)
	}
	if file.AppID != appID || file.AppCertificate != certificate || len(file.Vectors) == 0 {
		t.Fatal("testdata/vectors.json is of another project, or empty")
	}
	return file.Vectors
}

// holders006 has the names from which the checksums of the 006 vectors were computed.
var holders006 = map[string]Holder{
	"go/src/AccessToken/AccessToken_test.go:12": {Channel: "7d72365eb983485397e3e3f9d460bdda", User: "2882341273"},
	"go/src/AccessToken/AccessToken_test.go:36": {Channel: "7d72365eb983485397e3e3f9d460bdda"},
	"php/test/AccessTokenTest.php:39":           {Channel: "7d72365eb983485397e3e3f9d460bdda", User: "0"},
	"ruby/test/rtm_token_builder_spec.rb:18":    {User: "test_user"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		token, d := must(Parse(v.Token))(t), v.Decoded
		issuedAt, validUntil := d.IssueTS, d.IssueTS+d.Expire
		if d.V == V006 {
			issuedAt, validUntil = d.TS-86400, d.TS
		}
		if token.Version != d.V || token.AppID != d.AppID || token.Salt != d.Salt || token.IssuedAt != issuedAt || token.ValidUntil != validUntil {
			t.Errorf("%s: got %+v, want %+v", v.From, token, d)
		}
		if err := token.Verify(certificate, holders006[v.From]); err != nil {
			t.Errorf("%s: %v", v.From, err)
		}
		if signed := encodeSigned(token); !bytes.Equal(signed, token.signed) {
			t.Errorf("%s: encoded again: %x, want %x", v.From, signed, token.signed)
		}
	}
}
