package edge

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is a token from the tests of Agora's own builders.
type vector struct {
	Token   string `json:"token"`
	From    string `json:"from"`
	Decoded struct {
		Version string `json:"v"`
	} `json:"decoded"`
}

// These are the channel and the user of Agora's test vectors.
var vectorChannel, vectorUser = "7d72365eb983485397e3e3f9d460bdda", "2882341273"

func readVectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		AppID       string   `json:"appId"`
		Certificate string   `json:"appCertificate"`
		Vectors     []vector `json:"vectors"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if file.AppID != testApp || file.Certificate != testCert || len(file.Vectors) == 0 {
		t.Fatal("the vectors are not those that the tests were written for")
	}
	return file.Vectors
}

// TestVectors verifies everything about the tokens of Agora's tests but their expiry, which is in 1970.
func TestVectors(t *testing.T) {
	keys := keyring{appID: testApp, certificates: []string{secondCert, testCert}}
	admitted := map[Leg]int{}
	for _, v := range readVectors(t) {
		for _, who := range []identity{{RTC, vectorChannel, vectorUser}, {RTC, vectorChannel, anonymous}, {RTM, "", "test_user"}, {Chat, "", vectorUser}} {
			g, refusal := keys.verify(v.Token, who)
			if refusal != nil {
				if refusal.Code != CodeInvalidToken {
					t.Errorf("%s as %v: %v", v.From, who, refusal)
				}
				continue
			}
			admitted[who.leg]++
			ends := int64(1111111)
			if v.Decoded.Version == "007" {
				ends += 600
			}
			if g.ends().Unix() != ends || g.silent() != (v.Decoded.Version == "006") {
				t.Errorf("%s as %v ends at %d, want %d; silent %v", v.From, who, g.ends().Unix(), ends, g.silent())
			}
		}
	}
	// The test vectors for RTC are a 006 token for a uid, two 006 tokens for any uid, a 007 token for a uid, two 007
	// tokens for any uid, a 007 token that is also for RTM, and an uncompressed 007 token. For RTM they are a 006
	// token, a 007 token, and the 007 token that is also for RTC. For Chat a user's token is admitted, but an app's
	// token is not.
	if diff := cmp.Diff(map[Leg]int{RTC: 8, RTM: 3, Chat: 1}, admitted); diff != "" {
		t.Errorf("admitted (-want +got):\n%s", diff)
	}
}
