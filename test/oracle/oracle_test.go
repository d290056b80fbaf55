//go:build programs

package oracle

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"refresher/internal/agora"
	"refresher/internal/session"
)

const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"

	tokens = 2000 // number of random tokens, in each direction
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is the Node.js process that runs oracle.js for one test.
type node struct {
	requests *json.Encoder
	replies  *json.Decoder
	stderr   *bytes.Buffer
}

func startNode(t *testing.T) *node {
	t.Helper()
	for _, name := range []string{"agora-token", "agora-access-token"} {
		if _, err := os.Stat("node_modules/" + name); err != nil {
			t.Fatalf("npm package %s is not installed (%v): run `make setup`", name, err)
		}
	}
	cmd := exec.Command("node", "oracle.js")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{requests: json.NewEncoder(stdin), replies: json.NewDecoder(stdout), stderr: new(bytes.Buffer)}
	cmd.Stderr = n.stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node (%v): install Node 20 or newer", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // closing stdin makes the process exit
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v\n%s", err, n.stderr)
		}
	})
	return n
}

// ask sends a request and decodes the reply into the value `into`. It fails the test if the reply is an error.
func (n *node) ask(t *testing.T, request map[string]any, into any) {
	t.Helper()
	var reply json.RawMessage
	if err := n.requests.Encode(request); err != nil {
		t.Fatal(err)
	}
	if err := n.replies.Decode(&reply); err != nil {
		t.Fatalf("%v; node says:\n%s", err, n.stderr)
	}
	var failure struct{ Error string }
	if err := json.Unmarshal(reply, &failure); err != nil || failure.Error != "" {
		t.Fatalf("%v: %s %v", request, failure.Error, err)
	}
	if err := json.Unmarshal(reply, into); err != nil {
		t.Fatalf("%s: %v", reply, err)
	}
}

// sample describes one token: the fields to build it from, which the parsed token must have too.
type sample struct {
	kind       string // one of the kinds in oracle.js, such as "007 rtc"
	rtc        session.RTC
	user       string          // user id for RTM and Chat
	lifetime   session.UnixSec // seconds
	service    agora.ServiceType
	privileges []agora.Privilege // privileges without their expiry
}

var publisher = []agora.Privilege{
	{ID: 1, Name: "join"}, {ID: 2, Name: "publish audio"}, {ID: 3, Name: "publish video"}, {ID: 4, Name: "publish data"},
}

var kinds = []string{"007 rtc", "007 rtm", "007 chat", "007 chat app", "006 rtc", "006 rtm"}

func newSample(r *rand.Rand, kind string) sample {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	const punctuation = " !#$%&()+-:;<=.>?@[]^_{|}~,"
	name := func(first, rest string, limit int) string {
		b := []byte{first[r.IntN(len(first))]}
		for n := r.IntN(limit); len(b) <= n; {
			b = append(b, rest[r.IntN(len(rest))])
		}
		return string(b)
	}
	s := sample{kind: kind, lifetime: session.UnixSec(1 + r.Int64N(86400))}
	switch kind {
	case "007 rtc", "006 rtc":
		s.service, s.privileges = agora.ServiceRTC, publisher[:1]
		s.rtc.Channel = name(letters+punctuation, letters+punctuation, 64)
		switch r.IntN(4) {
		case 0: // uid 0
		case 1:
			s.rtc.Account = name(letters+punctuation, letters+punctuation, 255)
		default:
			s.rtc.UID = r.Uint32() >> r.IntN(32)
		}
		if r.IntN(2) == 0 {
			s.rtc.Role, s.privileges = session.Publisher, publisher
		}
	case "007 rtm":
		s.service, s.privileges = agora.ServiceRTM, []agora.Privilege{{ID: 1, Name: "login"}}
		s.user = name(letters, letters+punctuation, 64)
	case "006 rtm":
		s.service, s.privileges = agora.ServiceRTM, []agora.Privilege{{ID: 1000, Name: "login"}}
		s.user = name(letters, letters+punctuation, 64)
	case "007 chat":
		s.service, s.privileges = agora.ServiceChat, []agora.Privilege{{ID: 1, Name: "user"}}
		s.user = name(letters, letters+"_-.", 64)
	case "007 chat app":
		s.service, s.privileges = agora.ServiceChat, []agora.Privilege{{ID: 2, Name: "app"}}
	}
	return s
}

func (s sample) is006() bool { return s.kind[:3] == string(agora.V006) }

// holder returns the user of the token, and its channel if it has one.
func (s sample) holder() agora.Holder {
	if s.service == agora.ServiceRTC {
		return agora.Holder{Channel: s.rtc.Channel, User: s.rtc.User()}
	}
	return agora.Holder{User: s.user}
}

// ends returns the privileges, all with the same expiry.
func (s sample) ends(end session.UnixSec) map[uint16]session.UnixSec {
	ends := map[uint16]session.UnixSec{}
	for _, p := range s.privileges {
		ends[p.ID] = end
	}
	return ends
}

func (s sample) mint(t *testing.T, issuedAt session.UnixSec) string {
	t.Helper()
	m, err := agora.NewMinter(appID, certificate)
	if err != nil {
		t.Fatal(err)
	}
	format := session.Format007
	if s.is006() {
		format = session.Format006
	}
	var tokens session.Tokens
	switch s.service {
	case agora.ServiceRTC:
		tokens, err = m.Mint(session.Identity{RTC: &s.rtc}, format, issuedAt, issuedAt+s.lifetime)
	case agora.ServiceRTM:
		tokens, err = m.Mint(session.Identity{RTM: &session.RTM{UserID: s.user}}, format, issuedAt, issuedAt+s.lifetime)
	case agora.ServiceChat:
		tokens.Chat, err = m.MintChat(session.Chat{UserID: s.user}, issuedAt, issuedAt+s.lifetime)
	default:
		t.Fatalf("no minter of %s tokens", s.service)
	}
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return tokens.RTC + tokens.RTM + tokens.Chat // only one of the three is set
}

// TestNodeReadsOurs checks that Agora's Node packages parse our tokens and accept their signatures.
func TestNodeReadsOurs(t *testing.T) {
	n := startNode(t)
	r := rand.New(rand.NewPCG(1, 0))
	for i := range tokens {
		s := newSample(r, kinds[i%len(kinds)])
		issuedAt := session.UnixSec(1 + r.Int64N(1<<32-2*86400))
		text := s.mint(t, issuedAt)
		parsed, err := agora.Parse(text) // to get the random salt
		if err != nil {
			t.Fatal(err)
		}
		request := map[string]any{"op": "read", "token": text, "certificate": certificate}
		if s.is006() {
			request["channel"], request["user"] = s.rtc.Channel, s.rtc.User()
			if s.service == agora.ServiceRTM {
				request["channel"] = s.user
			}
			same(t, s, ask[read006](t, n, request), read006{
				AppID: appID, Salt: parsed.Salt, TS: issuedAt + 86400,
				Privileges: s.ends(issuedAt + s.lifetime), Genuine: true,
			})
			continue
		}
		h := s.holder()
		same(t, s, ask[read007](t, n, request), read007{
			AppID: appID, IssuedAt: issuedAt, Lifetime: s.lifetime, Salt: parsed.Salt,
			Services: []readService{{uint16(s.service), s.ends(s.lifetime), h.Channel, h.User}}, Genuine: true,
		})
	}
}

// These are the replies of oracle.js.
type (
	read007 struct {
		AppID              string
		IssuedAt, Lifetime session.UnixSec
		Salt               uint32
		Services           []readService
		Genuine            bool
	}
	readService struct {
		Type          uint16
		Privileges    map[uint16]session.UnixSec
		Channel, User string
	}
	read006 struct {
		AppID      string
		Salt       uint32
		TS         session.UnixSec
		Privileges map[uint16]session.UnixSec
		Genuine    bool
	}
)

func ask[T any](t *testing.T, n *node, request map[string]any) (reply T) {
	t.Helper()
	n.ask(t, request, &reply)
	return reply
}

func same[T any](t *testing.T, s sample, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", s, diff)
	}
}

// TestOursReadsNode checks that internal/agora parses and verifies the tokens of Agora's Node packages.
func TestOursReadsNode(t *testing.T) {
	n := startNode(t)
	r := rand.New(rand.NewPCG(2, 0))
	for i := range tokens {
		s := newSample(r, kinds[i%len(kinds)])
		h := s.holder()
		before := session.SecOf(time.Now())
		request := map[string]any{
			"op": "build", "kind": s.kind, "appId": appID, "certificate": certificate,
			"channel": s.rtc.Channel, "uid": s.rtc.UID, "account": s.rtc.Account,
			"publisher": s.rtc.Role == session.Publisher, "user": s.user, "expire": s.lifetime,
		}
		if s.is006() {
			request["expire"] = before + s.lifetime
		}
		text := ask[struct{ Token string }](t, n, request).Token
		after := session.SecOf(time.Now())

		token, err := agora.Parse(text)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if token.IssuedAt < before || token.IssuedAt > after {
			t.Fatalf("%+v: issued at %d, built between %d and %d", s, token.IssuedAt, before, after)
		}
		want := &agora.Token{
			Version: agora.Version(s.kind[:3]), AppID: appID,
			IssuedAt: token.IssuedAt, ValidUntil: token.IssuedAt + s.lifetime, ExpiresAt: token.IssuedAt + s.lifetime,
			Salt:     token.Salt,
			Services: []agora.Service{{Type: s.service, Channel: h.Channel, User: h.User}},
		}
		if s.is006() {
			want.ValidUntil = token.IssuedAt + 86400
			want.ExpiresAt = before + s.lifetime
			want.Services[0].Channel, want.Services[0].User = "", ""
			want.Checksums = token.Checksums // Verify has checked the checksums, which the sample does not have
		}
		for _, p := range s.privileges {
			p.ExpiresAt = want.ExpiresAt
			want.Services[0].Privileges = append(want.Services[0].Privileges, p)
		}
		if diff := cmp.Diff(want, token, cmpopts.IgnoreUnexported(agora.Token{})); diff != "" {
			t.Fatalf("%+v (-want +got):\n%s", s, diff)
		}
		if err := token.Verify(certificate, h); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if err := token.Verify(appID, h); err == nil {
			t.Fatalf("%+v: verified under a certificate that it was not signed with", s)
		}
	}
}

// TestTokensForRTCAndRTM compares our tokens for both RTC and RTM with those of Agora's Node builder, and checks that
// Node parses ours.
func TestTokensForRTCAndRTM(t *testing.T) {
	n := startNode(t)
	m, err := agora.NewMinter(appID, certificate)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 0))
	for range 200 {
		rtc, rtm := newSample(r, "007 rtc"), newSample(r, "007 rtm")
		id := session.Identity{RTC: &rtc.rtc, RTM: &session.RTM{UserID: rtm.user}}
		issuedAt := session.SecOf(time.Now())
		minted, err := m.Mint(id, session.FormatSingle, issuedAt, issuedAt+rtc.lifetime)
		if err != nil {
			t.Fatalf("%+v: %v", id, err)
		}
		built := ask[struct{ Token string }](t, n, map[string]any{
			"op": "build", "kind": "007 rtc rtm", "appId": appID, "certificate": certificate,
			"channel": rtc.rtc.Channel, "account": rtc.rtc.User(), "publisher": rtc.rtc.Role == session.Publisher,
			"user": rtm.user, "expire": rtc.lifetime,
		}).Token
		stream, err := m.MintStream(session.RTC{Channel: rtc.rtc.Channel, Account: rtm.user, Role: session.Publisher}, *id.RTM, issuedAt, issuedAt+rtc.lifetime)
		if err != nil {
			t.Fatalf("%+v: %v", id, err)
		}
		both := []readService{
			{uint16(agora.ServiceRTC), rtc.ends(rtc.lifetime), rtc.rtc.Channel, rtc.rtc.User()},
			{uint16(agora.ServiceRTM), rtm.ends(rtc.lifetime), "", rtm.user},
		}
		inStream := []readService{
			{uint16(agora.ServiceRTC), map[uint16]session.UnixSec{1: rtc.lifetime, 4: rtc.lifetime}, rtc.rtc.Channel, rtm.user}, both[1],
		}
		for text, want := range map[string][]readService{minted.RTC: both, built: both, stream: inStream} {
			token, err := agora.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Verify(certificate, agora.Holder{Channel: want[0].Channel, User: want[0].User}); err != nil {
				t.Errorf("%+v: %v", token, err)
			}
			same(t, rtc, ask[read007](t, n, map[string]any{"op": "read", "token": text, "certificate": certificate}), read007{
				AppID: appID, IssuedAt: token.IssuedAt, Lifetime: rtc.lifetime, Salt: token.Salt, Services: want, Genuine: true,
			})
		}
	}
}
