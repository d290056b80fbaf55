package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/protocol"
)

// event is one step of a transcript: a message that the client sends or receives, a command, or a remark.
type event struct {
	peer  string // letter that names the connection
	arrow string // → for a sent message, ← for a received one, $ for a shell command, # for a remark
	text  string
}

var eventLine = regexp.MustCompile(`^(?:([A-Z]) )?(→|←|#|\$) (.*)$`)

// events reads a transcript. An indented line continues the line above it.
func events(t *testing.T, text string) []event {
	t.Helper()
	var all []event
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if more, ok := strings.CutPrefix(line, "   "); ok && len(all) > 0 {
			all[len(all)-1].text += more
			continue
		}
		m := eventLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a line of a transcript: %q", line)
		}
		all = append(all, event{m[1], m[2], m[3]})
	}
	return all
}

var (
	transcript = regexp.MustCompile("(?s)\n<!-- play:([^>]*)-->\n```transcript\n(.*?)```\n")
	quotation  = regexp.MustCompile("(?m)^```transcript$")
)

// playTranscripts plays the transcripts of protocol.md. It sends the client's messages to a service with the settings
// above the transcript, and compares the service's messages with the transcript. Tokens, keys, ids and times differ
// from the transcript's; but where the transcript repeats one, the service must repeat its own.
func playTranscripts(t *testing.T, seen *record) {
	text := readFile(t, "docs/build/protocol.md")
	played := 0
	for heading, part := range sections(text) {
		for i, m := range transcript.FindAllStringSubmatch(part, -1) {
			played++
			t.Run(heading+"/"+strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				p := &play{t: t, seen: seen, settings: m[1], sockets: map[string]*socket{}, bound: map[string]any{}}
				p.node = startNode(t, p.settings)
				p.shell = map[string]string{"URL": p.node.public()}
				for _, e := range events(t, m[2]) {
					p.step(e)
				}
			})
		}
	}
	if want := len(quotation.FindAllString(text, -1)); played != want || played < 19 {
		t.Errorf("played %d transcripts of %d", played, want)
	}
}

// play is the state of a transcript while it is played.
type play struct {
	t        *testing.T
	seen     *record
	settings string
	node     *node
	sockets  map[string]*socket
	// bound maps a token, key, id or expiry of the transcript, as "kind text", to the service's value.
	bound map[string]any
	clock int64 // newest "now" in the transcript, in Unix milliseconds

	shell map[string]string // its variables

	path, key, body string // parts of the HTTP request, as the lines so far describe it
	ask             func() reply
	looks           bool // the request changes nothing, so it may be repeated
	reply           *reply
}

func (p *play) step(e event) {
	p.t.Helper()
	s := p.sockets[e.peer]
	switch method, path, _ := strings.Cut(e.text, " "); {
	case e.arrow == "#":
		p.remark(e.text, s)
	case e.arrow == "$":
		p.command(e.text)
	case e.arrow == "→" && e.text == "connect":
		p.sockets[e.peer] = p.node.dial(p.t, p.seen)
	case e.arrow == "→" && method == "POST":
		p.path, p.key, p.body, p.ask, p.looks, p.reply = path, "", "", nil, false, nil
	case e.arrow == "→" && method == "Authorization:":
		p.key = strings.TrimPrefix(path, "Bearer ")
	case e.arrow == "→" && p.path != "":
		p.body = p.outgoing(e.text)
	case e.arrow == "→":
		s.send(p.outgoing(e.text))
	case method == "close":
		code, err := strconv.Atoi(path)
		if err != nil {
			p.t.Fatal(err)
		}
		s.closed(protocol.CloseCode(code))
	case p.path != "" && p.reply == nil:
		p.request(e.text)
	case p.path != "":
		p.body, p.path = "", ""
		p.compareReply(e.text)
	default:
		m, code := s.hear()
		if m == nil {
			p.t.Fatalf("closed with %d, want %s", code, e.text)
		}
		if err := p.compare(e.text, m); err != nil {
			p.t.Fatal(err)
		}
	}
}

// remark acts on a remark, except on one that only tells how time passes.
func (p *play) remark(text string, s *socket) {
	p.t.Helper()
	switch {
	case strings.HasPrefix(text, "the connection breaks"):
		s.lose()
	case strings.HasPrefix(text, "another certificate stands first"):
		p.node.changeCertificate()
	case text == "the tokens run out":
		p.outlive()
	case text == "the node is told to stop":
		old := p.node
		p.node = startNode(p.t, p.settings)
		go old.Stop()
	}
}

// outlive waits until all tokens so far have expired. It joins another client, whose tokens
// are minted last, and waits until the service reports that these have expired.
func (p *play) outlive() {
	p.t.Helper()
	s := startNode(p.t, p.settings+" ack-timeout=1m").dial(p.t, nil)
	s.send(join)
	s.expect("joined")
	s.expect("token-privilege-will-expire")
	s.expect("token-privilege-did-expire")
	for name, value := range p.bound {
		if strings.HasPrefix(name, "expiresAt ") {
			if unix, err := value.(json.Number).Int64(); err != nil || unix > time.Now().Unix() {
				p.t.Fatalf("%s is %v: not over yet", name, value)
			}
		}
	}
}

// request sends the HTTP request that the lines so far describe. The answer must have that status.
func (p *play) request(status string) {
	p.t.Helper()
	if p.ask == nil {
		p.ask = p.asking("POST", p.node.public()+p.named(p.path), p.body, p.key)
	}
	r := p.ask()
	if strconv.Itoa(r.status) != status {
		p.t.Fatalf("%s: %d %s, want %s", p.path, r.status, r.body, status)
	}
	p.reply = &r
}

// asking returns a function that sends a request, and checks the answer against openapi.yaml.
func (p *play) asking(method, address, body, key string) func() reply {
	var header []string
	if key != "" {
		header = []string{"Authorization", "Bearer " + fmt.Sprint(p.lookup("key", key))}
	}
	return func() reply {
		p.t.Helper()
		r := p.node.request(p.t, method, address, body, header...)
		path, _, _ := strings.Cut(strings.TrimPrefix(address, p.node.public()), "?")
		o, _ := find(method, path)
		if o.spec == nil {
			p.t.Fatalf("%s %s is not documented", method, path)
		}
		o.answered(p.t, r)
		return r
	}
}

// compareReply compares an answer's body with a line of the transcript. Lists lag behind the sessions, as protocol.md
// explains, so a request that changes nothing is repeated until the answer is equal.
func (p *play) compareReply(text string) {
	p.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		bound := maps.Clone(p.bound)
		err := p.compare(text, parse(p.reply.body))
		if err == nil {
			break
		}
		p.bound = bound
		if p.ask == nil || !p.looks {
			p.t.Fatal(err)
		}
		select {
		case <-again.C:
		case <-late:
			p.t.Fatal(err)
		}
		r := p.ask()
		p.reply = &r
	}
	p.ask = nil
}

// named replaces the ids in a path of the transcript by the service's ids.
func (p *play) named(path string) string {
	return regexp.MustCompile(`/[^/]*…`).ReplaceAllStringFunc(path, func(id string) string {
		return "/" + fmt.Sprint(p.lookup("session", id[1:]))
	})
}

// lookup returns the service's value for a value of the transcript, or the value itself if it is new.
func (p *play) lookup(kind string, value any) any {
	if bound, ok := p.bound[fmt.Sprint(kind, " ", value)]; ok {
		return bound
	}
	return value
}

// outgoing returns the message to send for a line of the transcript.
func (p *play) outgoing(text string) string {
	p.t.Helper()
	m := parse([]byte(text)).(object)
	for _, field := range []string{"session", "key", "expiresAt", "token"} {
		if value, ok := m[field]; ok {
			m[field] = p.lookup(field, value)
		}
	}
	if auth, ok := m["auth"].(string); ok {
		m["auth"] = p.expand(auth)
	}
	if ttl, ok := m["ttl"].(json.Number); ok && len(ttl) == 2 {
		delete(m, "ttl") // use the service's shorter ttl, which is set above the transcript
	}
	return asJSON(m)
}

// compare compares a message of the service with a line of the transcript.
func (p *play) compare(text string, said any) error {
	p.t.Helper()
	written := parse([]byte(text)).(object)
	if kind, ok := written["type"].(string); ok {
		if err := asyncAPI().check("/components/messages/"+kind+"/payload", legible(written)); err != nil {
			p.t.Errorf("asyncapi.yaml refuses %s: %v", text, err)
		}
	}
	return p.same("", written, said, text)
}

// legible replaces the "…" of shortened values, so that they match their schemas.
func legible(written object) object {
	m := make(object)
	for name, value := range written {
		if s, ok := value.(string); ok {
			value = strings.ReplaceAll(s, "…", "_")
		}
		m[name] = value
	}
	return m
}

func (p *play) same(field string, written, said any, text string) error {
	p.t.Helper()
	switch written := written.(type) {
	case object:
		of, ok := said.(object)
		if !ok || strings.Join(names(written), " ") != strings.Join(names(of), " ") {
			return fmt.Errorf("%s\ngot %v", text, said)
		}
		for _, name := range names(written) {
			if err := p.same(name, written[name], of[name], text); err != nil {
				return err
			}
		}
		return nil
	case []any:
		of, ok := said.([]any)
		if !ok || len(of) != len(written) {
			return fmt.Errorf("%s\n%s: got %v", text, field, said)
		}
		for i := range written {
			if err := p.same(field, written[i], of[i], text); err != nil {
				return err
			}
		}
		return nil
	}
	_, number := written.(json.Number)
	if _, ok := said.(json.Number); ok != number {
		return fmt.Errorf("%s\n%s: got %v", text, field, said)
	}
	switch field {
	case "now":
		at, err := written.(json.Number).Int64()
		if err != nil || at < p.clock {
			p.t.Errorf("%s\nthe transcript's clock goes back", text)
		}
		p.clock = at
		return nil
	case "afterMs", "heartbeat", "renewBefore": // these values depend on the settings
		return nil
	case "at", "until", "issuedAt", "lastAckAt", "nextRenewalAt", "lastTokenEndsAt", "classicEndsAt", "salt":
		return nil
	case "why": // this field's text may contain a time
		if digits.ReplaceAllString(fmt.Sprint(written), "") == digits.ReplaceAllString(fmt.Sprint(said), "") {
			return nil
		}
	case "session", "key", "token", "expiresAt", "node", "fingerprint":
		return p.bind(field, written, said, text)
	case "signedBy":
		return p.bind("node", written, said, text)
	case "rtcToken":
		return p.bind("token", written, said, text)
	case "previousExpiresAt", "accessEndsAt", "validUntil":
		return p.bind("expiresAt", written, said, text)
	}
	if field == "id" && !number { // sessions and revocations have a text as id; a privilege has a number
		return p.bind("session", written, said, text)
	}
	if field == "version" && number { // a session's version is a time, but a token's version is a text
		return nil
	}
	if written != said {
		return fmt.Errorf("%s\n%s: got %v", text, field, said)
	}
	return nil
}

var digits = regexp.MustCompile(`\d`)

// bind records the service's value for a value of the transcript, or compares it with the recorded one.
func (p *play) bind(kind string, written, said any, text string) error {
	p.t.Helper()
	name := fmt.Sprint(kind, " ", written)
	if before, ok := p.bound[name]; ok && before != said {
		return fmt.Errorf("%s\n%s was %v before, and is %v now", text, name, before, said)
	}
	if kind != "expiresAt" { // two expiries may be equal, but two keys may not
		for other, value := range p.bound {
			if value == said && other != name && strings.HasPrefix(other, kind) {
				return fmt.Errorf("%s\n%s is the same as %s", text, name, other)
			}
		}
	}
	p.bound[name] = said
	return nil
}
