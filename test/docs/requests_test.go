package docs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// player sends requests to a service, and checks requests and answers against openapi.yaml.
type player struct {
	t    *testing.T
	node *node
	seen map[string]bool // the answers so far, each as "METHOD path status"
}

// play sends a request, and fails the test unless the answer has the given status. The service must refuse the request
// if, and only if, the schemas of openapi.yaml refuse it.
func (p *player) play(status int, method, path, body, auth string) object {
	p.t.Helper()
	r, refused := p.send(status, method, path, body, auth)
	if (r.status == 400) != (refused != nil) {
		p.t.Errorf("%s %s %s: %d %s; the schema: %v", method, path, body, r.status, r.body, refused)
	}
	if len(r.body) == 0 || r.body[0] != '{' || strings.HasPrefix(path, "/metrics") {
		return nil
	}
	return parse(r.body).(object)
}

// send sends a request, and fails the test unless the answer has the given status. It returns the answer, and the
// error of the schemas of openapi.yaml if they refuse the request.
func (p *player) send(status int, method, path, body, auth string) (r reply, refused error) {
	p.t.Helper()
	address, err := url.Parse(path)
	if err != nil {
		p.t.Fatal(err)
	}
	o, args := find(method, address.EscapedPath())
	if o.spec == nil {
		p.t.Fatalf("%s %s is not documented", method, path)
	}
	base := p.node.public()
	if o.private() {
		base = p.node.operations()
	}
	r = p.node.request(method, base+path, body, auth)
	if r.status != status {
		p.t.Errorf("%s %s %s: %d, want %d: %s", method, path, body, r.status, status, r.body)
	}
	o.answered(p.t, r)
	p.seen[fmt.Sprint(o, " ", r.status)] = true
	return r, o.valid(args, address.Query(), body)
}

func (p *player) gets(status int, paths ...string) {
	p.t.Helper()
	for _, path := range paths {
		p.play(status, "GET", path, "", "")
	}
}

func (p *player) bodies(status int, method, path, auth string, bodies ...string) {
	p.t.Helper()
	for _, body := range bodies {
		p.play(status, method, path, body, auth)
	}
}

// TestRequestsAndAnswers checks openapi.yaml in both directions: the service refuses exactly
// the requests that the schemas refuse, each answer has a documented status and form, and
// each documented status occurs.
func TestRequestsAndAnswers(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	p := &player{t, n, make(map[string]bool)}
	p.classic()
	p.malformedQueries()
	session, key := p.sessions()
	p.node = startNode(t, "") // a new node: the examples revoke the access of users, and the first node is still needed below
	p.examples()
	p.operators()
	p.refusals(session, key)

	p.node = n
	p.gets(200, "/metrics", "/healthz", "/readyz")
	last := n.dial(t, nil) // this open connection keeps the node draining, so that the requests below reach it
	last.send(join)
	last.expect("joined")
	go n.Stop()
	last.expect("reconnect")
	p.gets(503, "/readyz", "/")
	last.closed(protocol.CloseDrain)

	var documented []string
	for _, o := range operations() {
		for status := range o.spec["responses"].(object) {
			if status != "500" { // the service answers 500 only if it fails, so no request here can cause a 500
				documented = append(documented, fmt.Sprint(o, " ", status))
			}
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(documented, names(p.seen)); diff != "" {
		t.Errorf("documented (-), seen (+):\n%s", diff)
	}
}

func (p *player) classic() {
	p.t.Helper()
	long := func(n int) string { return strings.Repeat("x", n) }
	p.gets(
		200,
		"/", "/ping", "/ping/", "/rtc/daily/publisher/uid/4294967295/?expiry=60", "/rtc/daily/publisher/uid/-1",
		"/rtc/daily/0/userAccount/"+long(255), "/rtc/"+long(64)+"/attendee/uid/1",
		"/rtc/a%20%21%3F/publisher/uid/1", "/rtc/*/publisher/uid/1?expiry=86400", "/rtm/ana", "/rtm/"+long(64),
		"/rte/daily/publisher/uid/1001", "/rte/daily/publisher/uid/0/ana", "/chat/app", "/chat/account/ana.b_c-d",
		"/access_token?channelName=x&uid=ana&role=host&expireTime=60", "/access_token?channel=x&uid=&role=",
		"/rtcToken?channelName=x", "/rtmToken?account=ana", "/chat/app/token", "/chat/user/ana/token",
	)
	p.gets(
		400,
		"/rtc/daily/publisher/userAccount/"+long(256), "/rtc/daily/admin/uid/1", "/rtc/daily/publisher/name/1",
		"/rtc/"+long(65)+"/publisher/uid/1", "/rtc//publisher/uid/1", "/rtc/a%2Fb/publisher/uid/1",
		"/rtc/a*/publisher/uid/1", "/rtm/"+long(65), "/rtm/0", "/rtm/null", "/rtm/_ana", "/rte/daily/admin/uid/1",
		"/rte/daily/publisher/uid/1/0", "/chat/app?expiry=0", "/chat/account/a%20b", "/chat/account/"+long(65),
		"/access_token?channelName=x&role=admin", "/rtcToken?channelName=a%2Fb", "/rtmToken?account=0", "/rtmToken",
		"/chat/app/token?expiry=0", "/chat/user/a%20b/token", "/rtm/ana?expiry=86401", "/rtm/ana?expiry=abc", "/rtm/ana?expiry=1.5",
	)
	p.bodies(
		200, "POST", "/getToken", "",
		`{"tokenType":"rtc","channel":"c","role":"publisher","uid":"7","expire":90}`, `{"tokenType":"rtc","channel":"c","role":2,"uid":7}`,
		`{"tokenType":"rtc","channel":"c","role":null,"uid":"7","expire":null}`, `{"tokenType":"rtm","uid":"ana","expire":86400}`,
		`{"tokenType":"rtm","uid":7,"expire":0}`, `{"tokenType":"chat","uid":""}`, `{"tokenType":"chat"}`,
	)
	p.bodies(
		400, "POST", "/getToken", "",
		`{"tokenType":"rtc","channel":"c","role":3,"uid":7}`, `{"tokenType":"rtc","channel":"c","uid":null}`,
		`{"tokenType":"rtc","role":"publisher","uid":"7"}`, `{"tokenType":"rtc","channel":"c","uid":4294967296}`,
		`{"tokenType":"rtm","uid":0}`, `{"tokenType":"rtm"}`, `{"tokenType":"rtm","uid":"ana","expire":86401}`,
		`{"tokenType":"chat","uid":"a b"}`, `{"tokenType":"fpa"}`, `{"tokenType":7}`, `{}`, ``,
	)
	p.bodies(
		200, "POST", "/fetch_rtc_token", "",
		`{"uid":"-1","ChannelName":"x","role":"subscriber","expire":1}`, `{"ChannelName":"x","role":1}`, `{"uid":null,"ChannelName":"x"}`,
	)
	p.bodies(400, "POST", "/fetch_rtc_token", "", `{"uid":1.5,"ChannelName":"x"}`, `{"uid":1,"role":1}`, `[1]`)
	p.bodies(400, "POST", "/fetch_rtc_token_string", "", `{"uid":"ana","ChannelName":"x","role":101}`)
	p.bodies(200, "POST", "/fetch_rtm_token", "", `{"uid":1001}`)
	p.bodies(400, "POST", "/fetch_rtm_token", "", `{"uid":"0"}`, `{}`)
}

// malformedQueries requests every path with a query that is malformed, which no schema can express.
func (p *player) malformedQueries() {
	p.t.Helper()
	for _, o := range operations() {
		if !o.private() {
			_, _ = p.send(400, o.method, strings.NewReplacer("{", "", "}", "").Replace(o.path)+"?x=%zz", "", "")
		}
	}
}

// examples sends the example bodies of openapi.yaml that need no session.
func (p *player) examples() {
	p.t.Helper()
	for _, o := range operations() {
		if o.tag() == "classic" || o.tag() == "operators" && o.method == "POST" {
			p.bodies(200, o.method, o.path, "", o.examples()...)
		}
	}
}

func (p *player) operators() {
	p.t.Helper()
	long := strings.Repeat("x", 256)
	p.gets(
		200, "/v1/sessions", "/v1/sessions?channel=daily&uid=1001&limit=1", "/v1/sessions?account=ana&subject=x&limit=200",
		"/v1/revocations", "/v1/revocations?cursor=zz", "/v1/certificates",
	)
	p.gets(
		400, "/v1/sessions?limit=0", "/v1/sessions?limit=201", "/v1/sessions?limit=x", "/v1/sessions?uid=x",
		"/v1/sessions?uid=4294967296", "/v1/sessions?channel="+long, "/v1/sessions?subject="+long,
	)
	p.gets(404, "/v1/sessions/X", "/v1/revocations/X")
	p.bodies(404, "PATCH", "/v1/sessions/X", "", `{"renew":true}`)
	p.bodies(404, "DELETE", "/v1/sessions/X", "", "")
	p.bodies(404, "DELETE", "/v1/revocations/X", "", "")
	p.bodies(200, "POST", "/v1/revocations", "", `{"channel":"c","account":"bob","subject":"s"}`, `{"uid":0}`, `{"subject":"s","for":31536000}`)
	p.bodies(
		400, "POST", "/v1/revocations", "", `{"subject":"s","for":31536001}`, `{"subject":"s","for":0}`, `{"subject":"s","for":"1"}`, `{"for":1}`,
		`{"uid":1,"account":"a"}`, `{"uid":-1}`, `{"uid":4294967296}`, `{"channel":"`+long+`"}`, `{"channel":7}`, ``,
	)
	p.bodies(200, "POST", "/v1/tokens/inspect", "", `{"token":"no","account":"ana"}`, `{}`)
	p.bodies(400, "POST", "/v1/tokens/inspect", "", `{"token":7}`, `{"token":"x","uid":1,"account":"a"}`, ``)
	added := fmt.Sprint(p.play(200, "POST", "/v1/revocations", `{"subject":"nobody","for":60}`, "")["id"])
	p.gets(200, "/v1/revocations/"+added)
	p.bodies(200, "DELETE", "/v1/revocations/"+added, "", "")
}

// sessions sends requests about two sessions: requests of operators, and requests of clients with the sessions' keys.
// It returns the path of a session and its key.
func (p *player) sessions() (path, key string) {
	p.t.Helper()
	s := p.node.dial(p.t, nil)
	s.send(`{"type":"join","rtc":{"channel":"meeting","uid":7},"rtm":{"userId":"carla"}}`)
	joined := s.expect("joined")
	s.send(fmt.Sprintf(`{"type":"ack","seq":%v}`, joined["seq"]))
	one, auth := fmt.Sprintf("/v1/sessions/%s", joined["session"]), fmt.Sprintf("Bearer %s", joined["key"])
	p.node.awaitListed(one)
	p.gets(200, one)
	for _, m := range joined["tokens"].(object) {
		p.play(200, "POST", "/v1/tokens/inspect", asJSON(object{"token": m.(object)["token"]}), "")
	}
	p.bodies(200, "POST", one+"/renew", auth, ``, `{"seq":2,"expiresAt":1}`, `{"seq":4503599627370496}`)
	p.bodies(400, "POST", one+"/renew", auth, `{"seq":4503599627370497}`, `{"seq":-1}`, `{"expiresAt":"1"}`, `{`)
	p.play(401, "POST", one+"/renew", "", "")
	p.play(404, "POST", one+"/renew", "", "Bearer x")
	p.play(404, "POST", "/v1/sessions/X/renew", "", auth)
	p.bodies(200, "PATCH", one, "", `{"rtc":{"role":"publisher"}}`, `{"rtc":{"role":"subscriber"},"renew":false}`, `{"renew":true}`)
	p.bodies(
		400, "PATCH", one, "",
		`{"renew":true,"rtc":{"role":"publisher"}}`, `{"renew":false}`, `{"rtc":{"role":"host"}}`, `{"rtc":{}}`, `{}`, ``,
	)
	p.play(200, "DELETE", one, "", "")
	p.play(410, "POST", one+"/renew", "", auth)

	s = p.node.dial(p.t, nil)
	s.send(join)
	joined = s.expect("joined")
	one, auth = fmt.Sprintf("/v1/sessions/%s", joined["session"]), fmt.Sprintf("Bearer %s", joined["key"])
	p.bodies(401, "POST", one+"/leave", "", ``, `{}`)
	p.play(404, "POST", one+"/leave", `{"key":"x"}`, "")
	p.bodies(400, "POST", one+"/leave", auth, `{`, `{"seq":-1}`, `{"seq":4503599627370497}`, `{"expiresAt":"1"}`)
	p.play(400, "POST", one+"/leave", `{"key":1}`, "")
	s = p.node.dial(p.t, nil)
	s.send(resumeOf(joined, `,"seq":1`))
	newer := s.expect("joined")
	s.send(fmt.Sprintf(`{"type":"ack","seq":%v}`, newer["seq"]))
	s.send(`{"type":"ping"}`)
	s.expect("pong")
	p.play(410, "POST", one+"/leave", "", auth)
	p.play(204, "POST", one+"/leave", asJSON(object{"key": newer["key"]}), "")

	// A node that has no record of the session believes the client's report that the tokens have expired.
	p.node = startNode(p.t, "")
	m := p.play(200, "POST", one+"/renew", `{"seq":7,"expiresAt":1}`, auth)
	if m["type"] != "token-privilege-did-expire" || fmt.Sprint(m["seq"]) != "8" {
		p.t.Errorf("got %v", m)
	}
	return one, fmt.Sprint(joined["key"])
}

// refusals sends each documented request without a credential, with a wrong credential, too often, and to a service
// that cannot reach its key set or its store. Each must be refused.
func (p *player) refusals(session, key string) {
	p.t.Helper()
	everything := func(settings, auth string, status int, may func(operation) bool) {
		p.t.Helper()
		p.node = startNode(p.t, settings)
		p.node.request("GET", p.node.public()+"/rtm/ana", "", "") // this request uses up the only one that --address-rate allows
		for _, o := range operations() {
			if path, body := o.sample(); may(o) {
				_, _ = p.send(status, o.method, path, body, auth)
			}
		}
	}
	private := func(o operation) bool { return o.access() == "credential" }
	everything("auth=jwt", "", 401, private)
	everything("auth=jwt", "Bearer "+refresher(p.t, "token", "grant", "--subject", "ana"), 403, private)
	everything("insecure", "", 403, func(o operation) bool { return o.tag() == "operators" })
	everything("address-rate=0.001", "Bearer x", 429, func(o operation) bool { return !o.private() && o.tag() != "probes" })
	const nowhere = "127.0.0.1:1" // no program listens on this port
	signed := apptest.Segment(object{"alg": "RS256", "kid": "1"}) + "." + apptest.Segment(object{}) + "." + strings.Repeat("A", 342)
	everything("auth=jwt jwks-url=http://"+nowhere+"/keys", "Bearer "+signed, 503, private)

	// A node that cannot read the revocations admits no client, but accepts new revocations.
	p.node = startNode(p.t, "redis-url=redis://"+nowhere)
	p.play(503, "POST", session+"/renew", "", "Bearer "+key)
	p.play(503, "POST", session+"/leave", "", "Bearer "+key)
	p.play(503, "PATCH", "/v1/sessions/X", `{"renew":true}`, "")
	p.play(503, "DELETE", "/v1/sessions/X", "", "")
	m := p.play(503, "POST", "/v1/revocations", `{"subject":"ana"}`, "")
	if err := openAPI().check("/components/schemas/RevocationProgress", m["done"]); err != nil {
		p.t.Errorf("%v: %v", m, err)
	}
}
