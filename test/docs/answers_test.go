package docs

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/protocol"
)

// player sends requests to a service, and checks requests and answers against openapi.yaml.
type player struct {
	t    *testing.T
	node *node
	seen map[string]bool // the answers so far, as "METHOD path status"
}

func (p *player) play(q request) reply {
	p.t.Helper()
	var header []string
	if q.auth != "" {
		header = []string{"Authorization", q.auth}
	}
	address, err := url.Parse(q.path)
	if err != nil {
		p.t.Fatal(err)
	}
	o, args := find(q.method, address.EscapedPath())
	if o.spec == nil {
		p.t.Fatalf("%s %s is not documented", q.method, q.path)
	}
	base := p.node.public()
	if o.private() {
		base = p.node.operations()
	}
	r := p.node.request(p.t, q.method, base+q.path, q.body, header...)
	if r.status != q.status {
		p.t.Errorf("%s %s %s: %d, want %d: %s", q.method, q.path, q.body, r.status, q.status, r.body)
	}
	o.answered(p.t, r)
	refused := o.valid(args, address.Query(), q.body)
	if (r.status == 400) != (refused != nil) && !q.beyond {
		p.t.Errorf("%s %s %s: %d %s; the schema: %v", q.method, q.path, q.body, r.status, r.body, refused)
	}
	p.seen[fmt.Sprint(o, " ", r.status)] = true
	return r
}

// TestRequestsAndAnswers checks openapi.yaml in both directions: the service refuses exactly
// the requests that the schemas refuse, each answer has a documented status and form, and
// each documented status occurs.
func TestRequestsAndAnswers(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	p := &player{t, n, make(map[string]bool)}
	s := n.dial(t, nil)
	s.send(join)
	joined := s.expect("joined")
	key := fmt.Sprintf("Bearer %s", joined["key"])
	for _, q := range classicRequests() {
		p.play(q)
	}
	for _, q := range malformedQueries() {
		p.play(q)
	}
	for _, q := range renewRequests(joined) {
		p.play(q)
	}
	p.leaves()
	p.listed(joined)
	for _, q := range operatorRequests(joined) {
		p.play(q)
	}
	p.revocations(joined)
	m, _ := s.hear()
	for m["type"] != "ended" { // bundles that were requested over HTTP also arrive on the socket
		m, _ = s.hear()
	}
	s.closed(protocol.CloseEnded)
	p.play(request{method: "POST", path: fmt.Sprintf("/v1/sessions/%s/renew", joined["session"]), auth: key, status: 410})

	// This node has no record of the session. The client reports that its tokens have expired.
	p.node = startNode(t, "")
	r := p.play(request{
		method: "POST", path: fmt.Sprintf("/v1/sessions/%s/renew", joined["session"]), auth: key,
		body: `{"seq":7,"expiresAt":1}`, status: 200,
	})
	if m = parse(r.body).(object); m["type"] != "token-privilege-did-expire" || fmt.Sprint(m["seq"]) != "8" {
		t.Errorf("got %s", r.body)
	}
	p.refusals(joined)

	p.node = n
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		p.play(request{method: "GET", path: path, status: 200})
	}
	last := n.dial(t, nil) // the open connection keeps the node draining
	last.send(join)
	last.expect("joined")
	go n.Stop()
	last.expect("reconnect")
	p.play(request{method: "GET", path: "/readyz", status: 503})
	p.play(request{method: "GET", path: "/", status: 503})
	last.closed(protocol.CloseDrain)

	var documented []string
	for _, o := range operations() {
		for status := range o.spec["responses"].(object) {
			if status != "500" { // only a failure of the service causes a 500
				documented = append(documented, fmt.Sprint(o, " ", status))
			}
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(documented, names(p.seen)); diff != "" {
		t.Errorf("documented (-), seen (+):\n%s", diff)
	}
}

// leaves resumes a session, so that it has an older and a newer key, and ends it over HTTP.
func (p *player) leaves() {
	p.t.Helper()
	s := p.node.dial(p.t, nil)
	s.send(join)
	older := s.expect("joined")
	s = p.node.dial(p.t, nil)
	s.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, older["session"], older["key"]))
	newer := s.expect("joined")
	s.send(fmt.Sprintf(`{"type":"ack","seq":%v}`, newer["seq"]))
	s.send(`{"type":"ping"}`)
	s.expect("pong")
	for _, q := range leaveRequests(older, newer) {
		p.play(q)
	}
	s.expect("ended")
	s.closed(protocol.CloseLeft)
}

// listed waits until the service lists the session: the store is written after the join is answered.
func (p *player) listed(joined object) {
	p.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		r := p.node.request(p.t, "GET", fmt.Sprintf("%s/v1/sessions/%s", p.node.public(), joined["session"]), "")
		if r.status == 200 {
			return
		}
		select {
		case <-again.C:
		case <-late:
			p.t.Fatalf("the session is never shown: %d %s", r.status, r.body)
		}
	}
}

// operatorRequests returns requests about the session of a joined message. None of them ends it.
func operatorRequests(joined object) []request {
	long := strings.Repeat("x", 256)
	one := fmt.Sprintf("/v1/sessions/%s", joined["session"])
	all := slices.Concat(
		get(200,
			"/v1/sessions", "/v1/sessions?channel=daily&uid=1001&limit=1", "/v1/sessions?account=ana&subject=x&limit=200", one,
			"/v1/revocations", "/v1/revocations?cursor=zz", "/v1/certificates",
		),
		get(400,
			"/v1/sessions?limit=0", "/v1/sessions?limit=201", "/v1/sessions?limit=x", "/v1/sessions?uid=x",
			"/v1/sessions?uid=4294967296", "/v1/sessions?channel="+long, "/v1/sessions?subject="+long,
		),
		beyond(get(400, "/v1/sessions?uid=1&account=a", "/v1/sessions?cursor=nonsense")),
		get(404, "/v1/sessions/X", "/v1/revocations/X"),
		send("PATCH", one, 200, `{"rtc":{"role":"publisher"}}`, `{"rtc":{"role":"subscriber"},"renew":false}`, `{"renew":true}`),
		send("PATCH", one, 400,
			`{"renew":true,"rtc":{"role":"publisher"}}`, `{"renew":false}`, `{"rtc":{"role":"host"}}`, `{"rtc":{}}`, `{}`, ``,
		),
		send("PATCH", "/v1/sessions/X", 404, `{"renew":true}`),
		send("DELETE", "/v1/sessions/X", 404, ""),
		send("POST", "/v1/revocations", 200,
			`{"channel":"c","account":"ana","subject":"s"}`, `{"uid":0}`, `{"subject":"s","for":31536000}`,
		),
		send("POST", "/v1/revocations", 400,
			`{"subject":"s","for":31536001}`, `{"subject":"s","for":0}`, `{"subject":"s","for":"1"}`, `{"for":1}`,
			`{"uid":1,"account":"a"}`, `{"uid":-1}`, `{"uid":4294967296}`, `{"channel":"`+long+`"}`, `{"channel":7}`, ``,
		),
		send("DELETE", "/v1/revocations/X", 404, ""),
		send("POST", "/v1/tokens/inspect", 200, `{"token":"no","account":"ana"}`, `{}`),
		send("POST", "/v1/tokens/inspect", 400, `{"token":7}`, `{"token":"x","uid":1,"account":"a"}`, ``),
	)
	for _, m := range joined["tokens"].(object) {
		all = append(all, request{method: "POST", path: "/v1/tokens/inspect", body: fmt.Sprintf(`{"token":%q}`, m.(object)["token"]), status: 200})
	}
	for _, o := range operations() {
		for _, body := range o.examples() {
			// A revocation of 1001 would end the session.
			if path, _ := o.sample(); o.tag() == "operators" && o.method == "POST" && !strings.Contains(body, "1001") {
				all = append(all, request{method: o.method, path: path, body: body, status: 200})
			}
		}
	}
	return all
}

// revocations adds, lists and removes revocations; the last one ends the session.
func (p *player) revocations(joined object) {
	p.t.Helper()
	id := func(r reply) string { return fmt.Sprint(parse(r.body).(object)["id"]) }
	added := id(p.play(request{method: "POST", path: "/v1/revocations", body: `{"subject":"nobody","for":60}`, status: 200}))
	p.play(request{method: "GET", path: "/v1/revocations/" + added, status: 200})
	p.play(request{method: "DELETE", path: "/v1/revocations/" + added, status: 200})
	p.play(request{method: "GET", path: "/v1/revocations/" + added, status: 404})
	named := parse(p.play(request{method: "POST", path: "/v1/revocations", body: `{"channel":"c","uid":7,"subject":"s","for":60}`, status: 200}).body).(object)
	if named["channel"] != "c" || named["user"] != "7" || named["subject"] != "s" || named["session"] != nil {
		p.t.Errorf("got %v", named)
	}
	p.play(request{method: "DELETE", path: fmt.Sprintf("/v1/sessions/%s", joined["session"]), status: 200})
}

// refusals sends each documented request without a credential, with a wrong credential, and too often. Each must be
// refused.
func (p *player) refusals(joined object) {
	p.t.Helper()
	everything := func(settings, auth string, status int, may func(operation) bool) {
		p.t.Helper()
		p.node = startNode(p.t, settings)
		p.node.request(p.t, "GET", p.node.public()+"/rtm/ana", "") // uses up the one request that --address-rate allows
		for _, o := range operations() {
			if path, body := o.sample(); may(o) {
				p.play(request{method: o.method, path: path, body: body, auth: auth, status: status, beyond: true})
			}
		}
	}
	private := func(o operation) bool { return o.access() == "credential" }
	everything("auth=jwt", "", 401, private)
	everything("auth=jwt", "Bearer x", 401, private)
	everything("auth=jwt", "Bearer "+refresher(p.t, "token", "grant", "--subject", "ana"), 403, private)
	everything("address-rate=0.001", "Bearer x", 429, func(o operation) bool { return !o.private() && o.tag() != "probes" })

	nowhere := closedPort(p.t)
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + part([]byte(`{}`)) + "." + part(make([]byte, 256))
	everything("auth=jwt jwks-url=http://"+nowhere+"/keys", "Bearer "+signed, 503, private)

	// A node that cannot read the revocations admits no client, but accepts new revocations.
	p.node = startNode(p.t, "redis-url=redis://"+nowhere)
	p.play(request{
		method: "POST", path: fmt.Sprintf("/v1/sessions/%s/renew", joined["session"]),
		auth: fmt.Sprintf("Bearer %s", joined["key"]), status: 503,
	})
	p.play(request{
		method: "POST", path: fmt.Sprintf("/v1/sessions/%s/leave", joined["session"]), body: fmt.Sprintf(`{"key":%q}`, joined["key"]), status: 503,
	})
	p.play(request{method: "PATCH", path: "/v1/sessions/X", body: `{"renew":true}`, status: 503})
	p.play(request{method: "DELETE", path: "/v1/sessions/X", status: 503})
	for _, q := range []struct{ method, path, body, form string }{
		{"POST", "/v1/revocations", `{"subject":"ana"}`, "RevocationProgress"},
	} {
		r := p.play(request{method: q.method, path: q.path, body: q.body, status: 503})
		if err := openAPI().check("/components/schemas/"+q.form, parse(r.body).(object)["done"]); err != nil {
			p.t.Errorf("%s %s: %s: %v", q.method, q.path, r.body, err)
		}
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	var l net.ListenConfig
	s, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr().String()
}

// TestNobodyIsAnOperatorWithoutCredentials checks that a node with --auth=none on a public address refuses operators'
// requests.
func TestNobodyIsAnOperatorWithoutCredentials(t *testing.T) {
	t.Parallel()
	n := startNode(t, "insecure")
	for _, o := range operations() {
		if path, body := o.sample(); o.tag() == "operators" {
			refusal(t, n.request(t, o.method, n.public()+path, body), 403)
		}
	}
}
