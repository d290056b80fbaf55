//go:build programs

package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"refresher/internal/agora"
	"refresher/internal/session"
)

const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"

	tokens = 2000
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		_ = stdin.Close()
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

// reading is what internal/agora, or Agora's Node packages, read in a token.
type reading struct {
	AppID    string
	IssuedAt session.UnixSec
	Salt     uint32
	Services []service
	Genuine  bool // whether the token is signed with the certificate
}

type service struct {
	Type          uint16                     // 0 in a token of version 006, which does not name the service
	Privileges    map[uint16]session.UnixSec // the expiry of each privilege
	Channel, User string                     // empty in a token of version 006, which has only checksums of the names
}

// sample describes a random token: what to build it from, and what must be read in it.
type sample struct {
	kind     string // one of the kinds in oracle.js, or "007 stream", which oracle.js cannot build
	identity session.Identity
	lifetime session.UnixSec
	services []service // the method reads sets the expiries of their privileges
}

var kinds = []string{"007 rtc", "007 rtm", "007 rtc rtm", "007 stream", "007 chat", "007 chat app", "006 rtc", "006 rtm"}

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
	adds := func(of agora.ServiceType, channel, user string, privileges ...uint16) {
		ends := make(map[uint16]session.UnixSec)
		for _, id := range privileges {
			ends[id] = 0
		}
		s.services = append(s.services, service{uint16(of), ends, channel, user})
	}
	if strings.Contains(kind, "rtc") || kind == "007 stream" {
		rtc := &session.RTC{Channel: name(letters+punctuation, letters+punctuation, 64), UID: r.Uint32() >> r.IntN(33)}
		if r.IntN(4) == 0 || kind == "007 stream" {
			rtc.UID, rtc.Account = 0, name(letters+punctuation, letters+punctuation, 255)
		}
		s.identity.RTC = rtc
		switch {
		case kind == "007 stream":
			rtc.Account, rtc.Role = name(letters, letters+punctuation, 64), session.Publisher
			adds(agora.ServiceRTC, rtc.Channel, rtc.Account, 1, 4)
		case r.IntN(2) == 0:
			rtc.Role = session.Publisher
			adds(agora.ServiceRTC, rtc.Channel, rtc.User(), 1, 2, 3, 4)
		default:
			adds(agora.ServiceRTC, rtc.Channel, rtc.User(), 1)
		}
	}
	if strings.Contains(kind, "rtm") || kind == "007 stream" {
		s.identity.RTM = &session.RTM{UserID: name(letters, letters+punctuation, 64)}
		privilege := uint16(1)
		if kind == "007 stream" {
			s.identity.RTM.UserID = s.identity.RTC.Account
		} else if kind == "006 rtm" {
			privilege = 1000
		}
		adds(agora.ServiceRTM, "", s.identity.RTM.UserID, privilege)
	}
	switch kind {
	case "007 chat":
		s.identity.Chat = &session.Chat{UserID: name(letters, letters+"_-.", 64)}
		adds(agora.ServiceChat, "", s.identity.Chat.UserID, 1)
	case "007 chat app":
		s.identity.Chat = &session.Chat{}
		adds(agora.ServiceChat, "", "", 2)
	}
	return s
}

func (s sample) mint(t *testing.T, issuedAt session.UnixSec) (text string) {
	t.Helper()
	m, err := agora.NewMinter(appID, certificate)
	if err != nil {
		t.Fatal(err)
	}
	end := issuedAt + s.lifetime
	var tokens session.Tokens
	switch {
	case s.kind == "007 stream":
		text, err = m.MintStream(*s.identity.RTC, *s.identity.RTM, issuedAt, end)
	case s.identity.Chat != nil:
		text, err = m.MintChat(*s.identity.Chat, issuedAt, end)
	default:
		format := map[string]session.Format{"006": session.Format006, "007": session.Format007}[s.kind[:3]]
		if len(s.services) == 2 {
			format = session.FormatSingle
		}
		tokens, err = m.Mint(s.identity, format, issuedAt, end)
		text = cmp.Or(tokens.RTC, tokens.RTM)
	}
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return text
}

func (s sample) build(t *testing.T, n *node, now session.UnixSec) string {
	t.Helper()
	request := map[string]any{"op": "build", "kind": s.kind, "appId": appID, "certificate": certificate, "expire": s.lifetime, "user": ""}
	if s.kind[:3] == "006" {
		request["expire"] = now + s.lifetime
	}
	if rtc := s.identity.RTC; rtc != nil {
		request["channel"], request["uid"], request["account"] = rtc.Channel, rtc.UID, rtc.Account
		request["publisher"] = rtc.Role == session.Publisher
		if s.kind == "007 rtc rtm" {
			request["account"] = rtc.User()
		}
	}
	if s.identity.RTM != nil {
		request["user"] = s.identity.RTM.UserID
	} else if s.identity.Chat != nil {
		request["user"] = s.identity.Chat.UserID
	}
	var reply struct{ Token string }
	n.ask(t, request, &reply)
	return reply.Token
}

func (s sample) nodeReads(t *testing.T, n *node, text string) reading {
	t.Helper()
	request := map[string]any{"op": "read", "token": text, "certificate": certificate, "channel": s.services[0].Channel, "user": s.services[0].User}
	if s.kind == "006 rtm" {
		request["channel"], request["user"] = s.services[0].User, ""
	}
	var reply struct {
		reading
		TS         session.UnixSec
		Privileges map[uint16]session.UnixSec
	}
	n.ask(t, request, &reply)
	if s.kind[:3] == "006" {
		reply.IssuedAt, reply.Services = reply.TS-86400, []service{{Privileges: reply.Privileges}}
		return reply.reading
	}
	for _, of := range reply.Services {
		for id := range of.Privileges {
			of.Privileges[id] += reply.IssuedAt
		}
	}
	return reply.reading
}

func (s sample) weRead(t *testing.T, text string) reading {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	holder := agora.Holder{Channel: s.services[0].Channel, User: s.services[0].User}
	genuine := token.Verify(certificate, holder) == nil && token.Verify(appID, holder) != nil
	r := reading{AppID: token.AppID, IssuedAt: token.IssuedAt, Salt: token.Salt, Genuine: genuine}
	for _, of := range token.Services {
		ends := make(map[uint16]session.UnixSec)
		for _, p := range of.Privileges {
			ends[p.ID] = p.ExpiresAt
		}
		read := service{uint16(of.Type), ends, of.Channel, of.User}
		if token.Version == agora.V006 {
			read.Type = 0
		}
		r.Services = append(r.Services, read)
	}
	return r
}

// reads returns the reading that is expected of a token with the given time of issue and expiry.
func (s sample) reads(issuedAt, end session.UnixSec, salt uint32) reading {
	r := reading{AppID: appID, IssuedAt: issuedAt, Salt: salt, Genuine: true}
	for _, of := range s.services {
		ends := make(map[uint16]session.UnixSec)
		for id := range of.Privileges {
			ends[id] = end
		}
		of.Privileges = ends
		if s.kind[:3] == "006" {
			of = service{Privileges: ends}
		}
		r.Services = append(r.Services, of)
	}
	return r
}

// TestTokens builds random tokens with internal/agora and with Agora's Node packages. Both implementations must read
// the expected values in each token.
func TestTokens(t *testing.T) {
	n := startNode(t)
	r := rand.New(rand.NewPCG(1, 0))
	for i := range tokens {
		s := newSample(r, kinds[i%len(kinds)])
		issuedAt := session.UnixSec(1 + r.Int64N(1<<32-2*86400))
		text := s.mint(t, issuedAt)
		ours := s.weRead(t, text)
		want := s.reads(issuedAt, issuedAt+s.lifetime, ours.Salt) // the salt is random, so any value is accepted
		if diff := gocmp.Diff([]reading{want, want}, []reading{ours, s.nodeReads(t, n, text)}); diff != "" {
			t.Fatalf("we built %+v; (-want +[ours, Node's]):\n%s", s, diff)
		}
		if s.kind == "007 stream" {
			continue
		}
		before := session.SecOf(time.Now())
		text = s.build(t, n, before)
		ours = s.weRead(t, text)
		if after := session.SecOf(time.Now()); ours.IssuedAt < before || ours.IssuedAt > after {
			t.Fatalf("%+v: issued at %d, built between %d and %d", s, ours.IssuedAt, before, after)
		}
		end := ours.IssuedAt + s.lifetime
		if s.kind[:3] == "006" {
			end = before + s.lifetime
		}
		want = s.reads(ours.IssuedAt, end, ours.Salt)
		if diff := gocmp.Diff([]reading{want, want}, []reading{ours, s.nodeReads(t, n, text)}); diff != "" {
			t.Fatalf("Node built %+v; (-want +[ours, Node's]):\n%s", s, diff)
		}
	}
}
