package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/protocol"
)

// event is one step of a transcript: a message that the client sends or receives, a command, or a remark.
type event struct {
	peer  string
	arrow string // the mark of the line: → a sent message, ← a received one, $ a shell command, # a remark
	text  string
}

var eventLine = regexp.MustCompile(`^(?:([A-Z]) )?(→|←|#|\$) (.*)$`)

// events splits a transcript into its steps. An indented line continues the line above it.
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

var transcript = regexp.MustCompile("(?s)\n<!-- play:([^>]*)-->\n```transcript\n(.*?)```\n")

// playTranscripts executes the transcripts of protocol.md. It sends the client's messages to a service with the
// settings that stand above the transcript, and compares the service's messages with the transcript. Tokens, keys, ids
// and times differ from the transcript's, but where the transcript repeats a value, the service must repeat its own.
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
	if want := strings.Count(text, "\n```transcript\n"); played != want {
		t.Errorf("played %d transcripts of %d", played, want)
	}
}

type play struct {
	t        *testing.T
	seen     *record
	settings string
	node     *node
	sockets  map[string]*socket
	// bound maps each token, resume key, id and expiry of the transcript to the service's value. The index is the kind
	// of value, a space, and the text in the transcript.
	bound map[string]any
	shell map[string]string

	request func() reply // sends the HTTP request that the lines so far describe; nil if they describe none
	looks   bool         // true if the request changes nothing, so that it may be repeated
	reply   *reply

	path, key string // the path and the key of a request that the transcript shows as HTTP
}

func (p *play) step(e event) {
	p.t.Helper()
	s := p.sockets[e.peer]
	switch method, rest, _ := strings.Cut(e.text, " "); {
	case e.arrow == "#":
		p.remark(e.text, s)
	case e.arrow == "$":
		p.command(e.text)
	case e.arrow == "→" && e.text == "connect":
		p.sockets[e.peer] = p.node.dial(p.t, p.seen)
	case e.arrow == "→" && method == "POST":
		p.path, p.key = rest, ""
		p.prepare("POST", p.node.public()+p.named(p.path), "", p.key)
	case e.arrow == "→" && method == "Authorization:":
		p.key = strings.TrimPrefix(rest, "Bearer ")
		p.prepare("POST", p.node.public()+p.named(p.path), "", p.key)
	case e.arrow == "→" && p.request != nil:
		p.prepare("POST", p.node.public()+p.named(p.path), p.outgoing(e.text), p.key)
	case e.arrow == "→":
		s.send(p.outgoing(e.text))
	case method == "close":
		code, err := strconv.Atoi(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		s.closed(protocol.CloseCode(code))
	case p.request != nil && p.reply == nil:
		r := p.request()
		if strconv.Itoa(r.status) != e.text {
			p.t.Fatalf("%d %s, want %s", r.status, r.body, e.text)
		}
		p.reply = &r
	case p.request != nil:
		p.compareReply(e.text)
		p.request = nil
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

// remark executes a remark. Most remarks only say how time passes, and have no effect.
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

// outlive waits until all tokens so far have expired: it joins another client, whose tokens are younger, and waits
// until the service reports that these younger tokens have expired.
func (p *play) outlive() {
	p.t.Helper()
	s := startNode(p.t, p.settings+" ack-timeout=1m").dial(p.t, nil)
	s.send(join)
	s.expect("joined")
	s.expect("token-privilege-will-expire")
	s.expect("token-privilege-did-expire")
}

var (
	word       = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
	assignment = regexp.MustCompile(`^([A-Z]+)=\$\(refresher (.*)\)$`)
)

// words splits a command line into words, as a shell does. Quotes must enclose whole words.
func words(text string, variables map[string]string) (all []string) {
	for _, w := range word.FindAllString(text, -1) {
		if w[0] == '\'' {
			all = append(all, strings.Trim(w, "'"))
			continue
		}
		all = append(all, os.Expand(strings.Trim(w, `"`), func(name string) string { return variables[name] }))
	}
	return all
}

// command executes a shell line of the transcript: it runs refresher, or prepares the request of a curl command.
func (p *play) command(text string) {
	p.t.Helper()
	if m := assignment.FindStringSubmatch(text); m != nil {
		p.shell[m[1]] = refresher(p.t, words(m[2], p.shell)...)
		return
	}
	args := words(text, p.shell)
	curl := flag.NewFlagSet(args[0], flag.ContinueOnError)
	method, header, body := curl.String("X", "GET", ""), curl.String("H", "", ""), curl.String("d", "", "")
	if err := curl.Parse(args[1:]); err != nil || args[0] != "curl" {
		p.t.Fatalf("%s: this test knows only refresher and curl; %v", text, err)
	}
	if *body != "" {
		*body = p.outgoing(*body)
		if *method == "GET" {
			*method = "POST"
		}
	}
	p.prepare(*method, p.named(curl.Arg(0)), *body, strings.TrimPrefix(*header, "Authorization: Bearer "))
}

// prepare sets the request to which the next lines of the transcript are the answer. Each answer is also checked
// against openapi.yaml.
func (p *play) prepare(method, address, body, key string) {
	auth := ""
	if key != "" {
		auth = "Bearer " + fmt.Sprint(p.lookup("key", key))
	}
	p.reply, p.looks = nil, method == "GET"
	p.request = func() reply {
		p.t.Helper()
		r := p.node.request(method, address, body, auth)
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
// explains. So a request that changes nothing is repeated until its answer is equal.
func (p *play) compareReply(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		bound := maps.Clone(p.bound)
		err := p.compare(text, parse(p.reply.body))
		if err == nil {
			return
		}
		if !p.looks || time.Now().After(deadline) {
			p.t.Fatal(err)
		}
		p.bound = bound
		r := p.request()
		p.reply = &r
	}
}

// named replaces the ids in a path of the transcript by the service's ids.
func (p *play) named(path string) string {
	return regexp.MustCompile(`/[^/]*…`).ReplaceAllStringFunc(path, func(id string) string {
		return "/" + fmt.Sprint(p.lookup("session", id[1:]))
	})
}

func (p *play) lookup(kind string, value any) any {
	if bound, ok := p.bound[fmt.Sprint(kind, " ", value)]; ok {
		return bound
	}
	return value
}

func (p *play) outgoing(text string) string {
	p.t.Helper()
	m := parse([]byte(text)).(object)
	for _, field := range []string{"session", "key", "expiresAt", "token"} {
		if value, ok := m[field]; ok {
			m[field] = p.lookup(field, value)
		}
	}
	if auth, ok := m["auth"].(string); ok {
		m["auth"] = os.Expand(auth, func(name string) string { return p.shell[name] })
	}
	if ttl, ok := m["ttl"].(json.Number); ok && len(ttl) == 2 {
		delete(m, "ttl") // the node's settings, from above the transcript, have a ttl of seconds instead
	}
	return asJSON(m)
}

func (p *play) compare(text string, said any) error {
	p.t.Helper()
	written := parse([]byte(text)).(object)
	if kind, ok := written["type"].(string); ok {
		legible := parse([]byte(strings.ReplaceAll(text, "…", "_"))) // the schemas refuse the "…" of values that the transcript shortens
		if err := asyncAPI().check("/components/messages/"+kind+"/payload", legible); err != nil {
			p.t.Errorf("asyncapi.yaml refuses %s: %v", text, err)
		}
	}
	if err := p.same("", written, said); err != nil {
		return fmt.Errorf("%s\n%w", text, err)
	}
	return nil
}

// varying has the fields whose values may differ from the transcript's, since they depend on the settings or on the
// time.
var varying = []string{
	"now", "afterMs", "heartbeat", "renewBefore", "at", "until", "issuedAt", "lastAckAt", "nextRenewalAt", "lastTokenEndsAt",
	"classicEndsAt", "salt",
}

// repeated maps a field to the kind of its values. Where the transcript repeats a value of one kind, the service must
// repeat its own value.
var repeated = map[string]string{
	"session": "session", "id": "session", "key": "key", "fingerprint": "fingerprint",
	"token": "token", "rtcToken": "token", "node": "node", "signedBy": "node",
	"expiresAt": "expiresAt", "previousExpiresAt": "expiresAt", "accessEndsAt": "expiresAt", "validUntil": "expiresAt",
}

// same compares two values of a field. The parameter `written` is the transcript's value, and `said` the service's.
func (p *play) same(field string, written, said any) error {
	different := fmt.Errorf("%s: got %v", field, said)
	_, number := written.(json.Number)
	switch written := written.(type) {
	case object:
		of, ok := said.(object)
		if !ok || !slices.Equal(names(written), names(of)) {
			return different
		}
		for _, name := range names(written) {
			if err := p.same(name, written[name], of[name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		of, ok := said.([]any)
		if !ok || len(of) != len(written) {
			return different
		}
		for i := range written {
			if err := p.same(field, written[i], of[i]); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case reflect.TypeOf(written) != reflect.TypeOf(said):
		return different
	case slices.Contains(varying, field), field == "version" && number: // a session's version is a time, which varies; a token's version is a text
		return nil
	case field == "why": // the text may contain a time, so digits are ignored
		written, said = digits.ReplaceAllString(fmt.Sprint(written), ""), digits.ReplaceAllString(fmt.Sprint(said), "")
	case repeated[field] != "" && !(field == "id" && number): // a privilege's id is a number, which is the same in every run
		return p.bind(repeated[field], written, said)
	}
	if written != said {
		return different
	}
	return nil
}

var digits = regexp.MustCompile(`\d`)

func (p *play) bind(kind string, written, said any) error {
	name := fmt.Sprint(kind, " ", written)
	if before, ok := p.bound[name]; ok && before != said {
		return fmt.Errorf("%s was %v before, and is %v now", name, before, said)
	}
	for other, value := range p.bound {
		// Two expiries that differ in the transcript may happen to be equal in the service. All other values must
		// differ there, too.
		if kind != "expiresAt" && value == said && other != name && strings.HasPrefix(other, kind) {
			return fmt.Errorf("%s is the same as %s", name, other)
		}
	}
	p.bound[name] = said
	return nil
}
