package edge

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is a token from the test suites of Agora's own builders.
type vector struct {
	Token   string `json:"token"`
	From    string `json:"from"`
	Decoded struct {
		Version    string            `json:"v"`
		AppID      string            `json:"appId"`
		CRCChannel string            `json:"crcChannel"`
		CRCUID     string            `json:"crcUid"`
		Salt       uint32            `json:"salt"`
		Ts         uint32            `json:"ts"`
		Privileges map[uint16]uint32 `json:"privileges"`
		IssueTs    uint32            `json:"issueTs"`
		Expire     uint32            `json:"expire"`
		Services   [][]any           `json:"services"`
	} `json:"decoded"`
}

// The channel and user of the vectors, which a 006 token contains only as a CRC.
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

func TestVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range readVectors(t) {
		seen[v.Decoded.Version]++
		t.Run(v.From, func(t *testing.T) {
			switch v.Decoded.Version {
			case "006":
				checkVector006(t, v)
			case "007":
				checkVector007(t, v)
			}
		})
	}
	if seen["006"] == 0 || seen["007"] == 0 {
		t.Errorf("versions covered: %v", seen)
	}
}

func checkVector006(t *testing.T, v vector) {
	got, refusal := parse006(v.Token)
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := v.Decoded
	if got.appID != want.AppID || got.salt != want.Salt || got.ends != want.Ts ||
		fmt.Sprintf("%#x", got.crcChannel) != want.CRCChannel || fmt.Sprintf("%#x", got.crcUID) != want.CRCUID {
		t.Errorf("parsed %+v", got)
	}
	if diff := cmp.Diff(want.Privileges, got.privileges); diff != "" {
		t.Errorf("privileges (-want +got):\n%s", diff)
	}
	channel, uid := vectorChannel, vectorUser
	if _, rtm := want.Privileges[1000]; rtm {
		channel, uid = "test_user", ""
	}
	switch {
	case want.CRCUID == "0x0":
		uid = ""
	case want.CRCUID == "0xf4dbdf21":
		uid = "0" // a common mistake: uid 0 written as "0"
	}
	if !got.signedBy(testCert, channel, uid) {
		t.Error("signature does not hold")
	}
	if got.signedBy(testCert, channel, uid+"1") || got.signedBy(testCert, channel+"1", uid) || got.signedBy(secondCert, channel, uid) {
		t.Error("signature holds for what it does not cover")
	}
}

func checkVector007(t *testing.T, v vector) {
	got, refusal := parse007(v.Token)
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := v.Decoded
	if got.appID != want.AppID || got.issued != want.IssueTs || got.expire != want.Expire || got.salt != want.Salt {
		t.Errorf("parsed %+v", got)
	}
	services := map[uint16]service007{}
	for _, s := range want.Services {
		service := service007{privileges: map[uint16]uint32{}}
		for key, value := range s[1].(map[string]any) {
			var privilege uint16
			if _, err := fmt.Sscan(key, &privilege); err != nil {
				t.Fatal(err)
			}
			service.privileges[privilege] = uint32(value.(float64))
		}
		for _, name := range s[2:] {
			service.names = append(service.names, name.(string))
		}
		services[uint16(s[0].(float64))] = service
	}
	if diff := cmp.Diff(services, got.services, cmp.AllowUnexported(service007{})); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if !got.signedBy(testCert) {
		t.Error("signature does not hold")
	}
	if got.signedBy(secondCert) || got.signedBy(strings.ToLower(testCert)) {
		t.Error("signature holds for another certificate")
	}
}

// TestVectorsVerify verifies the vectors completely but for their expiry, which is in 1970.
func TestVectorsVerify(t *testing.T) {
	keys := keyring{appID: testApp, certificates: []string{secondCert, testCert}}
	admitted := map[Leg]int{}
	for _, v := range readVectors(t) {
		for _, who := range []identity{
			{RTC, vectorChannel, vectorUser},
			{RTC, vectorChannel, anonymous},
			{RTM, "", "test_user"},
			{Chat, "", vectorUser},
		} {
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
			if g.ends().Unix() != ends {
				t.Errorf("%s as %v ends at %d, want %d", v.From, who, g.ends().Unix(), ends)
			}
			if g.silent() != (v.Decoded.Version == "006") {
				t.Errorf("%s as %v: silent is %v", v.From, who, g.silent())
			}
		}
	}
	// RTC: 006 uid, 006 wildcard twice, 007 uid, 007 wildcard twice, 007 with RTM,
	// 007 stored. RTM: 006, 007, 007 with RTC. Chat: the user's, not the app's.
	if diff := cmp.Diff(map[Leg]int{RTC: 8, RTM: 3, Chat: 1}, admitted); diff != "" {
		t.Errorf("admitted (-want +got):\n%s", diff)
	}
}
