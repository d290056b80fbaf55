package docs

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// operation is one method of one path of openapi.yaml.
type operation struct {
	path, method string
	pointer      string
	item         object // the path's
	spec         object
}

func (o operation) String() string { return o.method + " " + o.path }

// private reports whether the operation is served on the operations port.
func (o operation) private() bool { return o.item["servers"] != nil }

func operations() []operation {
	var all []operation
	for path, item := range openAPI().children("/paths") {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} {
			pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + strings.ToLower(method)
			if spec, ok := item[strings.ToLower(method)].(object); ok {
				all = append(all, operation{path, method, pointer, item, spec})
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// find returns the operation of a request, and the parameters in its path.
func find(method, path string) (operation, map[string]string) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	for _, o := range operations() {
		pattern := strings.Split(strings.TrimPrefix(o.path, "/"), "/")
		if o.method != method || len(pattern) != len(parts) {
			continue
		}
		args := make(map[string]string)
		fits := true
		for i, p := range pattern {
			if name, ok := strings.CutPrefix(p, "{"); ok {
				args[strings.TrimSuffix(name, "}")], _ = url.PathUnescape(parts[i])
			} else if p != parts[i] {
				fits = false
			}
		}
		if fits {
			return o, args
		}
	}
	return operation{}, nil
}

// valid returns an error if openapi.yaml does not allow the request.
func (o operation) valid(args map[string]string, query url.Values, body string) error {
	for i, p := range anyList(o.item["parameters"]) {
		pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(o.path) + "/parameters/" + strconv.Itoa(i)
		if ref, ok := p.(object)["$ref"].(string); ok {
			pointer = strings.TrimPrefix(ref, "#")
		}
		parameter := openAPI().follow(p.(object))
		name := fmt.Sprint(parameter["name"])
		text, given := args[name]
		if parameter["in"] == "query" {
			text, given = query.Get(name), query.Has(name)
		}
		if !given {
			if parameter["required"] == true {
				return fmt.Errorf("%s has no %s", o.path, name)
			}
			continue
		}
		var value any = text
		if openAPI().follow(parameter["schema"].(object))["type"] == "integer" {
			if _, err := strconv.ParseInt(text, 10, 64); err == nil {
				value = json.Number(text)
			}
		}
		if err := openAPI().check(pointer+"/schema", value); err != nil {
			return err
		}
	}
	if o.spec["requestBody"] == nil || body == "" && openAPI().at(o.pointer + "/requestBody")["required"] != true {
		return nil
	}
	if !json.Valid([]byte(body)) {
		return fmt.Errorf("no JSON")
	}
	return openAPI().check(o.pointer+"/requestBody/content/application~1json/schema", parse([]byte(body)))
}

// answered checks an answer against openapi.yaml.
func (o operation) answered(t *testing.T, r reply) {
	t.Helper()
	response, ok := o.spec["responses"].(object)[strconv.Itoa(r.status)].(object)
	if !ok {
		t.Errorf("%s: status %d is not documented: %s", o, r.status, r.body)
		return
	}
	pointer := o.pointer + "/responses/" + strconv.Itoa(r.status)
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	content, some := openAPI().at(pointer)["content"].(object)
	if !some {
		if len(r.body) > 0 {
			t.Errorf("%s: %d has a body, %s", o, r.status, r.body)
		}
		return
	}
	kind, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil {
		t.Errorf("%s: %v", o, err)
	}
	if content[kind] == nil || len(content) != 1 {
		t.Errorf("%s: %d is %s, documented as %v", o, r.status, kind, names(content))
		return
	}
	var value any = string(r.body)
	if kind == "application/json" {
		value = parse(r.body)
		if r.status >= 400 && fmt.Sprint(value.(object)["status"]) != strconv.Itoa(r.status) {
			t.Errorf("%s: %d says %s", o, r.status, r.body)
		}
	}
	if err := openAPI().check(pointer+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema", value); err != nil {
		t.Errorf("%s: openapi.yaml refuses %s: %v", o, r.body, err)
	}
	headers, _ := openAPI().at(pointer)["headers"].(object)
	for name, header := range headers {
		header := openAPI().follow(header.(object))
		text := r.header.Get(name)
		if text == "" && header["required"] != true {
			continue
		}
		var value any = text
		schema := openAPI().follow(header["schema"].(object))
		if schema["type"] == "integer" {
			value = json.Number(text)
		}
		if err := validate(schema, value); err != nil {
			t.Errorf("%s: %s is %q: %v", o, name, text, err)
		}
	}
}

// validate validates a value by a schema without references.
func validate(schema object, value any) error {
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema", schema); err != nil {
		return err
	}
	s, err := c.Compile("schema")
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// request is a request of these tests, with the status that it must have.
type request struct {
	method, path, body, auth string
	status                   int
	// beyond is set if the service refuses the request by a rule that a schema cannot express, such as one about two
	// fields.
	beyond bool
}

// get returns a GET request for each path, all with the same status.
func get(status int, paths ...string) (all []request) {
	for _, path := range paths {
		all = append(all, request{method: "GET", path: path, status: status})
	}
	return all
}

// send returns a request to one path for each body, all with the same status.
func send(method, path string, status int, bodies ...string) (all []request) {
	for _, body := range bodies {
		all = append(all, request{method: method, path: path, body: body, status: status})
	}
	return all
}

// beyond sets the field `beyond` of the requests, and returns them.
func beyond(all []request) []request {
	for i := range all {
		all[i].beyond = true
	}
	return all
}

func classicRequests() []request {
	long := func(n int) string { return strings.Repeat("x", n) }
	all := slices.Concat(
		get(200,
			"/", "/ping", "/ping/", "/rtc/daily/publisher/uid/4294967295/?expiry=60", "/rtc/daily/publisher/uid/-1",
			"/rtc/daily/publisher/uid/0", "/rtc/daily/publisher/userAccount/ana",
			"/rtc/daily/publisher/userAccount/"+long(255), "/rtc/"+long(64)+"/publisher/uid/1",
			"/rtc/a%20%21%3F/publisher/uid/1", "/rtc/*/publisher/uid/1", "/rtm/ana", "/rtm/"+long(64),
			"/rte/daily/publisher/uid/1001", "/rte/daily/publisher/uid/0/ana", "/chat/app", "/chat/account/ana.b_c-d",
			"/access_token?channelName=x&uid=ana&role=host&expireTime=60", "/access_token?channel=x&uid=&role=",
			"/rtcToken?channelName=x", "/rtmToken?account=ana", "/chat/app/token", "/chat/user/ana/token",
		),
		beyond(get(400,
			"/rtc/daily/publisher/uid/4294967296", "/rtc/daily/publisher/uid/ana", "/rtc/daily/publisher/userAccount/0",
			"/rte/daily/publisher/uid/0", "/access_token", "/access_token?channelName=x&channel=x",
			"/access_token?channelName=x&expiry=60&expireTime=60", "/access_token?channelName=x&expiredTs=1",
			"/rtcToken?channelName=x&uid=4294967296",
		)),
		get(400,
			"/rtc/daily/publisher/userAccount/"+long(256), "/rtc/daily/admin/uid/1", "/rtc/daily/publisher/name/1",
			"/rtc/"+long(65)+"/publisher/uid/1", "/rtc//publisher/uid/1", "/rtc/a%2Fb/publisher/uid/1",
			"/rtc/a*/publisher/uid/1", "/rtm/"+long(65), "/rtm/0", "/rtm/null", "/rtm/_ana", "/rte/daily/admin/uid/1",
			"/rte/daily/publisher/uid/1/0", "/chat/app?expiry=0", "/chat/account/a%20b", "/chat/account/"+long(65),
			"/access_token?channelName=x&role=admin", "/rtcToken?channelName=a%2Fb", "/rtmToken?account=0", "/rtmToken",
			"/chat/app/token?expiry=0", "/chat/user/a%20b/token",
		),
		send("POST", "/getToken", 200,
			`{"tokenType":"rtc","channel":"c","role":"publisher","uid":"7","expire":90}`,
			`{"tokenType":"rtc","channel":"c","role":"1","uid":"ana"}`, `{"tokenType":"rtc","channel":"c","uid":"7"}`,
			`{"tokenType":"rtc","channel":"c","role":"","uid":"7","expire":0}`,
			`{"tokenType":"rtc","channel":"c","role":null,"uid":"7","expire":null}`,
			`{"tokenType":"rtm","uid":"ana","expire":86400}`, `{"tokenType":"rtm","uid":7}`,
			`{"tokenType":"rtm","uid":"ana","expire":0}`, `{"tokenType":"chat","uid":"ana"}`, `{"tokenType":"chat","uid":""}`,
			`{"tokenType":"chat"}`,
		),
		send("POST", "/getToken/", 200, `{"tokenType":"rtc","channel":"c","role":2,"uid":7}`),
		send("POST", "/getToken", 400,
			`{"tokenType":"rtc","channel":"c","role":3,"uid":7}`, `{"tokenType":"rtc","channel":"c","role":"publisher"}`,
			`{"tokenType":"rtc","channel":"c","uid":null}`, `{"tokenType":"rtm","uid":"ana","expire":-1}`,
			`{"tokenType":"rtc","role":"publisher","uid":"7"}`,
			`{"tokenType":"rtc","channel":"c","role":"publisher","uid":4294967296}`, `{"tokenType":"rtm","uid":0}`,
			`{"tokenType":"rtm"}`, `{"tokenType":"rtm","uid":"ana","expire":86401}`, `{"tokenType":"chat","uid":"a b"}`,
			`{"tokenType":"fpa"}`, `{"tokenType":7}`, `{}`, ``,
		),
		beyond(send("POST", "/getToken", 400,
			`{"tokenType":"rtc","channel":"c","role":"publisher","uid":"4294967296"}`,
			`{"tokenType":"chat","x":"`+long(8192)+`"}`,
		)),
		send("POST", "/fetch_rtc_token", 200,
			`{"uid":1234,"ChannelName":"x","role":1}`, `{"uid":"-1","ChannelName":"x","role":"subscriber","expire":1}`,
			`{"uid":"ana","ChannelName":"x","role":1}`, `{"ChannelName":"x","role":1}`, `{"uid":null,"ChannelName":"x"}`,
			`{"uid":1,"ChannelName":"x","expire":0}`,
		),
		send("POST", "/fetch_rtc_token", 400, `{"uid":1.5,"ChannelName":"x"}`, `{"uid":1,"role":1}`, `[1]`),
		send("POST", "/fetch_rtc_token_string", 400, `{"uid":"ana","ChannelName":"x","role":101}`),
		send("POST", "/fetch_rtm_token", 200, `{"uid":1001}`),
		send("POST", "/fetch_rtm_token", 400, `{"uid":"0"}`, `{}`),
		beyond(get(200, "/rtc/daily/publisher/uid//", "/rtc/daily/Publisher/uid/1")),
	)
	for role, status := range map[string]int{
		"publisher": 200, "subscriber": 200, "audience": 200, "1": 200, "2": 200, "0": 200, "3": 400, "host": 200, "attendee": 200, "publsher": 400,
	} {
		all = append(all,
			request{method: "GET", path: "/rtc/daily/" + role + "/uid/1", status: status},
			request{method: "POST", path: "/fetch_rtc_token", body: `{"uid":1,"ChannelName":"x","role":"` + role + `"}`, status: status})
	}
	for _, role := range []string{"0", "1", "2"} { // roles are also accepted as numbers
		all = append(all, request{method: "POST", path: "/fetch_rtc_token", body: `{"uid":1,"ChannelName":"x","role":` + role + `}`, status: 200})
	}
	for expiry, status := range map[string]int{
		"1": 200, "86400": 200, "0": 400, "-5": 400, "86401": 400, "abc": 400, "": 400, "1.5": 400,
	} {
		for _, path := range []string{"/rtc/c/1/uid/1", "/rtm/ana", "/rte/c/1/uid/1", "/rte/c/1/uid/1/ana", "/chat/app", "/chat/account/ana"} {
			all = append(all, request{method: "GET", path: path + "?expiry=" + expiry, status: status})
		}
	}
	for _, o := range operations() { // openapi.yaml's example bodies
		if o.tag() != "classic" {
			continue
		}
		for _, body := range o.examples() {
			all = append(all, request{method: o.method, path: o.path, body: body, status: 200})
		}
	}
	return all
}

// malformedQueries returns a request with a malformed query for every operation.
func malformedQueries() (all []request) {
	for _, o := range operations() {
		if !o.private() {
			path := strings.NewReplacer("{", "", "}", "").Replace(o.path)
			all = append(all, request{method: o.method, path: path + "?x=%zz", status: 400, beyond: true})
		}
	}
	return all
}

// tag returns the tag of an operation: classic, sessions, operators or probes.
func (o operation) tag() string { return values(o.spec["tags"])[0] }

// access returns the security scheme that an operation requires; empty if none.
func (o operation) access() string {
	for _, s := range anyList(o.spec["security"]) {
		return names(s.(object))[0]
	}
	return ""
}

func (o operation) examples() (bodies []string) {
	if o.spec["requestBody"] == nil {
		return nil
	}
	content := openAPI().at(o.pointer + "/requestBody/content/application~1json")
	if content["example"] != nil {
		bodies = append(bodies, asJSON(content["example"]))
	}
	examples, _ := content["examples"].(object)
	for _, name := range names(examples) {
		bodies = append(bodies, asJSON(examples[name].(object)["value"]))
	}
	return bodies
}

// sample returns the path and body of a valid request.
func (o operation) sample() (path, body string) {
	for i, part := range strings.Split(strings.TrimPrefix(o.path, "/"), "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			part = map[string]string{"channel": "daily", "role": "publisher", "tokentype": "uid", "uid": "1001", "rtmuid": "ana", "id": "X"}[strings.TrimSuffix(name, "}")]
		}
		if path += "/" + part; i == 0 && part == "" {
			path = "/"
		}
	}
	if bodies := o.examples(); len(bodies) > 0 {
		body = bodies[0]
	}
	return path, body
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// renewRequests returns requests that renew, over HTTP, the session of a joined message.
func renewRequests(joined object) []request {
	path, auth := fmt.Sprintf("/v1/sessions/%s/renew", joined["session"]), fmt.Sprintf("Bearer %s", joined["key"])
	return []request{
		{method: "POST", path: path, auth: auth, status: 200},
		{method: "POST", path: path, auth: auth, body: `{"seq":2,"expiresAt":1}`, status: 200},
		{method: "POST", path: path, auth: auth, body: `{"seq":4503599627370496}`, status: 200},
		{method: "POST", path: path, auth: auth, body: `{"seq":4503599627370497}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{"seq":-1}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{"expiresAt":"1"}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{`, status: 400},
		{method: "POST", path: path, status: 401},
		{method: "POST", path: path, auth: "Basic x", status: 401},
		{method: "POST", path: path, auth: "Bearer x", status: 404},
		{method: "POST", path: "/v1/sessions/X/renew", auth: auth, status: 404},
	}
}

// leaveRequests returns requests that leave, over HTTP, a session with an older and a newer joined message. The last
// requests end the session.
func leaveRequests(older, newer object) []request {
	path, auth := fmt.Sprintf("/v1/sessions/%s/leave", newer["session"]), fmt.Sprintf("Bearer %s", newer["key"])
	body := func(joined object) string { return fmt.Sprintf(`{"key":%q}`, joined["key"]) }
	return []request{
		{method: "POST", path: path, status: 401},
		{method: "POST", path: path, body: `{}`, status: 401},
		{method: "POST", path: path, auth: "Basic x", status: 401},
		{method: "POST", path: path, auth: "Bearer x", status: 404},
		{method: "POST", path: path, body: `{"key":"x"}`, status: 404},
		{method: "POST", path: "/v1/sessions/X/leave", body: body(newer), status: 404},
		{method: "POST", path: path, body: body(older), status: 410},
		{method: "POST", path: path, auth: auth, body: `{`, status: 400},
		{method: "POST", path: path, body: `{"key":1}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{"seq":-1}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{"seq":4503599627370497}`, status: 400},
		{method: "POST", path: path, auth: auth, body: `{"expiresAt":"1"}`, status: 400},
		{method: "POST", path: path, body: body(newer), status: 204},
		{method: "POST", path: path, auth: auth, status: 204},
		{method: "POST", path: path, auth: auth, body: `{"seq":2,"expiresAt":1}`, status: 204},
	}
}

// TestRoutesAnswerAsDocumented requests each path with each method.
func TestRoutesAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	methods := make(map[string][]string) // documented methods on the public port, keyed by path
	for _, o := range operations() {
		if !o.private() {
			methods[o.path] = append(methods[o.path], o.method)
		}
	}
	page := []string{"Origin", n.public()} // the header of a page from the service's own origin
	for path, documented := range methods {
		address := n.public() + strings.NewReplacer("{", "", "}", "").Replace(path)
		want := methodList(append(slices.Clone(documented), "OPTIONS"))
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			known := slices.Contains(documented, method) || method == "HEAD" && slices.Contains(documented, "GET")
			r := n.request(t, method, address, "", page...)
			if known == (strings.Contains(string(r.body), "no such endpoint") || r.status == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
			if known {
				continue
			}
			if got := methodList(strings.Split(r.header.Get("Allow"), ", ")); got != want {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, want)
			}
			if method != "HEAD" {
				refusal(t, r, http.StatusMethodNotAllowed)
			}
		}
		r := n.request(t, "OPTIONS", address, "", page...)
		for name, value := range map[string]string{
			"Access-Control-Allow-Methods": want, "Access-Control-Allow-Origin": n.public(),
			"Access-Control-Allow-Headers": "Authorization, Content-Type, X-Requested-With", "Access-Control-Max-Age": "600",
		} {
			got := r.header.Get(name)
			if name == "Access-Control-Allow-Methods" {
				got = methodList(strings.Split(got, ", "))
			}
			if r.status != 204 || got != value {
				t.Errorf("OPTIONS %s: %d, %s %q, want %q", path, r.status, name, got, value)
			}
		}
	}
	for _, path := range []string{"/v1", "/v1/sessions/X/Y", "/v1/tokens", "/v1/tokens/inspect/X", "/rtc", "/token"} {
		for _, method := range []string{"GET", "POST"} {
			if o, _ := find(method, path); o.spec == nil {
				refusal(t, n.request(t, method, n.public()+path, ""), http.StatusNotFound)
			}
		}
	}
}

// methodList returns methods sorted and joined, so that lists in any order compare equal.
func methodList(methods []string) string {
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// refusal checks that a reply has that status, and an error object as its body.
func refusal(t *testing.T, r reply, status int) {
	t.Helper()
	if r.status != status {
		t.Errorf("%d %s, want %d", r.status, r.body, status)
		return
	}
	if err := openAPI().check("/components/schemas/Error", parse(r.body)); err != nil {
		t.Errorf("%s: %v", r.body, err)
	}
}

// TestStatusesAreDocumented checks that each example of an error has the status that the code gives to its error
// code.
func TestStatusesAreDocumented(t *testing.T) {
	for _, o := range operations() {
		for status, r := range o.spec["responses"].(object) {
			content, _ := openAPI().follow(r.(object))["content"].(object)
			media, _ := content["application/json"].(object)
			example, _ := media["example"].(object)
			code, _ := example["code"].(string)
			if code == "" || status == "200" {
				continue
			}
			want := strconv.Itoa(protocol.StatusForError(session.Code(code)))
			if status == "410" { // 410 reports that the session has ended, so its code has no error status
				want = "410"
			}
			if status != want || fmt.Sprint(example["status"]) != status {
				t.Errorf("%s %s: an example with %v", o, status, example)
			}
		}
	}
}
