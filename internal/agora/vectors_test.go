package agora

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"refresher/internal/session"
)

// vector is a token from Agora's test suites, with its fields as they are encoded in the token:
// expiries are relative in 007, absolute in 006.
type vector struct {
	Token   string
	From    string
	Decoded struct {
		V, AppID           string
		CRCChannel, CRCUid string
		Salt               uint32
		TS                 session.UnixSec
		Privileges         map[uint16]session.UnixSec
		IssueTS, Expire    session.UnixSec
		Services           [][]json.RawMessage // each element has a type, privileges and names
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

// want returns the Token that a vector should be parsed to.
func (v vector) want(t *testing.T) *Token {
	d := v.Decoded
	token := &Token{Version: Version(d.V), AppID: d.AppID, Salt: d.Salt}
	privileges := func(s ServiceType, ends map[uint16]session.UnixSec, base session.UnixSec) []Privilege {
		var list []Privilege
		for _, id := range slices.Sorted(maps.Keys(ends)) {
			list = append(list, Privilege{ID: id, Name: privilegeName(s, id), ExpiresAt: base + ends[id]})
			token.ExpiresAt = min(token.ExpiresAt, base+ends[id])
		}
		return list
	}
	if token.Version == V006 {
		token.ValidUntil, token.ExpiresAt, token.IssuedAt = d.TS, d.TS, d.TS-86400
		token.Checksums = &Checksums{Channel: hex32(t, d.CRCChannel), User: hex32(t, d.CRCUid)}
		service := ServiceRTC
		if d.Privileges[1000] != 0 {
			service = ServiceRTM
		}
		token.Services = []Service{{Type: service, Privileges: privileges(service, d.Privileges, 0)}}
		return token
	}
	token.IssuedAt, token.ValidUntil, token.ExpiresAt = d.IssueTS, d.IssueTS+d.Expire, d.IssueTS+d.Expire
	for _, raw := range d.Services {
		var s Service
		var ends map[uint16]session.UnixSec
		decode(t, raw[0], &s.Type)
		decode(t, raw[1], &ends)
		s.Privileges = privileges(s.Type, ends, d.IssueTS)
		if s.Type == ServiceRTC {
			decode(t, raw[2], &s.Channel)
		}
		decode(t, raw[len(raw)-1], &s.User)
		token.Services = append(token.Services, s)
	}
	return token
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.From, func(t *testing.T) {
			token := must(Parse(v.Token))(t)
			wantFields(t, token, v.want(t))
			if err := token.Verify(certificate, holders006[v.From]); err != nil {
				t.Error(err)
			}
			if signed := encodeSigned(token); !bytes.Equal(signed, token.signed) {
				t.Errorf("encoded again: %x, want %x", signed, token.signed)
			}
		})
	}
}

func hex32(t *testing.T, s string) uint32 {
	t.Helper()
	return uint32(must(strconv.ParseUint(s, 0, 32))(t))
}

func decode(t *testing.T, raw json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}
