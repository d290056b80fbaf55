package access_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/test/redistest"
)

// journal is a log in which a test can wait for a line.
type journal struct {
	mu     sync.Mutex
	text   bytes.Buffer  // guarded by mu
	looked int           // guarded by mu; the length that await has already searched
	grown  chan struct{} // has an element after a write
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.grown <- struct{}{}:
	default:
	}
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits for a line that matches a regular expression. It searches after the line that the previous call found.
func (j *journal) await(t *testing.T, expression string) {
	t.Helper()
	pattern := regexp.MustCompile(expression)
	for {
		j.mu.Lock()
		found := pattern.FindIndex(j.text.Bytes()[j.looked:])
		if found != nil {
			j.looked += found[1]
		}
		j.mu.Unlock()
		if found != nil {
			return
		}
		select {
		case <-j.grown:
		case <-t.Context().Done():
			t.Fatalf("nobody logs %s", expression)
		}
	}
}

// secrets maps names to the secrets that must not leak. leaks searches for each in the forms in
// which programs print bytes, whole and in part.
type secrets map[string]string

// forms returns the texts in which a secret may appear.
func forms(secret string) []string {
	parts := []string{secret}
	if len(secret) >= 32 { // a shortened secret is a leak, too
		middle := len(secret) / 2
		parts = append(parts, secret[len(secret)-16:], secret[middle-8:middle+8])
	}
	var all []string
	for _, part := range parts {
		raw := []byte(part)
		numbers := strings.Trim(fmt.Sprint(raw), "[]")
		all = append(all, part, hex.EncodeToString(raw), numbers,
			strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "="), strings.TrimRight(base64.URLEncoding.EncodeToString(raw), "="))
	}
	return all
}

// leaks returns the names of the secrets that appear in a text.
func (s secrets) leaks(text string) (names []string) {
	for name, secret := range s {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// keeper runs a node with secrets and checks that its output has none of them.
type keeper struct {
	*apptest.Node
	t       *testing.T
	secrets secrets
	log     *journal
	file    string          // path of the certificate file
	heard   strings.Builder // answers to callers that do not own the secrets
	backEnd *receiver
}

// receiver is the server for webhooks and key sets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies strings.Builder // guarded by mu; of all requests
	status int             // guarded by mu
	allow  bool            // guarded by mu
	called chan string     // the paths
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK, allow: true, called: make(chan string, 10_000)}
	ids := regexp.MustCompile(`"id":"([^"]+)"`)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies.Write(body)
		r.called <- q.URL.Path
		w.WriteHeader(r.status)
		var decisions []string
		for _, id := range ids.FindAllStringSubmatch(string(body), -1) {
			decisions = append(decisions, fmt.Sprintf(`{"id":%q,"allow":%v}`, id[1], r.allow))
		}
		fmt.Fprintf(w, `{"decisions":[%s]}`, strings.Join(decisions, ","))
	}))
	t.Cleanup(r.Close)
	return r
}

// behave changes the receiver's answers.
func (r *receiver) behave(status int, allow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.allow = status, allow
}

// known returns the secrets in the settings of a test node.
func known() secrets {
	return secrets{
		"certificate":               apptest.Certificate,
		"next certificate":          apptest.NextCertificate,
		"session secret":            "seals-keys-0123456789-abcdefghij",
		"previous session secret":   "sealed-keys-9876543210-zyxwvutsr",
		"jwt secret":                "signs-credentials-qwertzuiopasdfghjkl",
		"previous jwt secret":       "signed-credentials-mnbvcxyasdfghjklpo",
		"events secret":             "signs-events-poiuztrewq-0123",
		"previous events secret":    "whsec_signed/events/yxcvbnmasdfg/8901a",
		"events password":           "tiger-of-the-events",
		"events query":              "query-of-the-events",
		"authorize secret":          "signs-requests-lkjhgfdsa-4567",
		"previous authorize secret": "signed-requests-mnbvcxy-2345",
		"authorize password":        "lion-of-the-requests",
		"authorize query":           "query-of-the-requests",
		"jwks query":                "query-of-the-key-set",
		"redis password":            "panther-of-the-store",
		"broken certificate":        "ffff1111-no-certificate-2222eeee",
	}
}

func (k *keeper) with(address, user, password, path, query string) string {
	return strings.Replace(address, "://", "://"+user+":"+password+"@", 1) + path + "?key=" + query
}

// newKeeper starts a node with a secret in every setting that can have one. Without a redisURL the
// store is in memory.
func newKeeper(t *testing.T, redisURL string) *keeper {
	t.Helper()
	k := &keeper{t: t, secrets: known(), log: &journal{grown: make(chan struct{}, 1)}, backEnd: newReceiver(t)}
	file := filepath.Join(t.TempDir(), "certificates")
	if err := os.WriteFile(file, []byte(apptest.Certificate+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := apptest.Config()
	s := k.secrets
	c.Auth, c.Projects[0].CertificateFile = "jwt", file
	c.Projects[0].Keys = credential.Keys{
		Secrets: []string{s["jwt secret"], s["previous jwt secret"]},
		JWKSURL: k.backEnd.URL + "/keys?key=" + s["jwks query"],
	}
	c.SessionSecret, c.PreviousSessionSecret = s["session secret"], s["previous session secret"]
	c.Events.Secret, c.Events.URL = s["events secret"], k.with(k.backEnd.URL, "scott", s["events password"], "/events", s["events query"])
	c.Authorize.Secret, c.Authorize.URL = s["authorize secret"], k.with(k.backEnd.URL, "scott", s["authorize password"], "/authorize", s["authorize query"])
	c.Events.PreviousSecret, c.Authorize.PreviousSecret = s["previous events secret"], s["previous authorize secret"]
	c.Policy.MinTTL, c.Policy.ApprovalGrace = 3e9, 60e9
	c.Redis.URL = redisURL
	k.file = file
	k.Node = apptest.StartWith(t, func(to *app.Config) { *to = c }, app.Outside{}, slog.New(slog.NewJSONHandler(k.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	k.log.await(t, `"msg":"serving"`)
	return k
}

// certificateFile writes the certificate file and makes the node reload it.
func (k *keeper) certificateFile(text string) {
	k.t.Helper()
	if err := os.WriteFile(k.file, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	k.Reloads <- os.Interrupt
}

// learn adds a secret that the service has created, such as a token.
func (k *keeper) learn(name, secret string) string {
	k.t.Helper()
	if len(secret) < 32 {
		k.t.Fatalf("%s is no secret: %q", name, secret)
	}
	k.secrets[fmt.Sprintf("%s %d", name, len(k.secrets))] = secret
	return secret
}

// credential makes a credential that grants everything.
func (k *keeper) credential(secret string, admin bool) string {
	k.t.Helper()
	everything := []string{"*"}
	var c credential.GrantConfig
	c.Secret, c.Caller.Subject, c.Caller.Admin = secret, "ana", admin
	c.Caller.Grant.Channels, c.Caller.Grant.UIDs, c.Caller.Grant.RTMUsers, c.Caller.Grant.Chat = everything, everything, everything, everything
	c.Caller.Grant.Roles = append(c.Caller.Grant.Roles, 1, 0)
	text, err := credential.Grant(c)
	if err != nil {
		k.t.Fatal(err)
	}
	return k.learn("credential", text)
}

// keep learns the tokens and the resume key in a message to their owner.
func (k *keeper) keep(m apptest.Message) apptest.Message {
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM, "chat": m.Tokens.Chat} {
		if token != nil {
			k.learn(name+" token", token.Token)
		}
	}
	if m.Key != "" {
		k.learn("key", m.Key)
	}
	return m
}

// visit makes a request. It learns the tokens in a successful answer, and records any other answer as
// output to check.
func (k *keeper) visit(request apptest.Request, credential string, status int) string {
	k.t.Helper()
	answer, text := k.Do(request.Method, request.Path, request.Body, "Authorization", "Bearer "+credential)
	if answer.StatusCode != status {
		k.t.Errorf("%s: %d %s, want %d", request, answer.StatusCode, text, status)
	}
	owner := answer.StatusCode == http.StatusOK && (strings.HasSuffix(request.Path, "/renew") || !strings.HasPrefix(request.Path, "/v1/"))
	if !owner {
		fmt.Fprintln(&k.heard, answer.Header, text)
		return text
	}
	for _, token := range regexp.MustCompile(`00[67][A-Za-z0-9+/=]{60,}`).FindAllString(text, -1) {
		k.learn("token", token)
	}
	return text
}

// say sends a message on a new connection, and records the refusal as output to check.
func (k *keeper) say(text, code string) {
	k.t.Helper()
	s := k.Dial()
	s.Send(text)
	for {
		m, closed := s.Next()
		if closed != 0 {
			return
		}
		if m.Type == "joined" || m.Code != "" && m.Code != code || m.Reason != "" && m.Reason != code && m.Type != "reconnect" {
			k.t.Errorf("got %+v, want %s", m, code)
		}
		fmt.Fprintf(&k.heard, "%+v\n", m)
	}
}

// overhear records the output of the operations port.
func (k *keeper) overhear() {
	k.t.Helper()
	for path, sign := range map[string]string{
		"/metrics": "refresher_sessions", "/readyz": "", "/healthz": "ok", "/debug/pprof/": "goroutine",
		"/debug/pprof/goroutine?debug=2": "goroutine ", "/debug/pprof/cmdline": "", "/debug/pprof/heap?debug=1": "heap profile",
	} {
		_, text := k.Ops(path)
		if !strings.Contains(text, sign) {
			k.t.Errorf("%s: %.100s", path, text)
		}
		fmt.Fprintln(&k.heard, text)
	}
}

// verdict checks that no secret leaked, and that leaks would find each secret if it had leaked.
func (k *keeper) verdict() {
	k.t.Helper()
	k.backEnd.mu.Lock()
	told := k.backEnd.bodies.String()
	k.backEnd.mu.Unlock()
	texts := map[string]string{"the log": k.log.String(), "answers": k.heard.String(), "events and approval requests": told}
	for where, text := range texts {
		if names := k.secrets.leaks(text); len(names) > 0 {
			k.t.Errorf("%s: shown are %v", where, names)
			for line := range strings.Lines(text) {
				if len(k.secrets.leaks(line)) > 0 {
					k.t.Logf("in %s", line)
				}
			}
		}
	}
	for name, secret := range k.secrets { // leaks finds each secret in a log that contains it
		for _, form := range forms(secret) {
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("control", "error", fmt.Errorf("a <%s> of %s", form, name))
			if len(k.secrets.leaks(texts["the log"]+log.String())) == 0 {
				k.t.Errorf("%s would not be seen as %q", name, form)
			}
		}
	}
	k.t.Logf("%d secrets, looked for in %d bytes of log, %d of answers, %d of events and approval requests",
		len(k.secrets), len(texts["the log"]), len(texts["answers"]), len(told))
}

// A node with every kind of secret reveals none in its logs, metrics and answers, whatever it does.
func TestSecretsAreNotShown(t *testing.T) {
	k := newKeeper(t, "")
	user, admin := k.credential(k.secrets["jwt secret"], false), k.credential(k.secrets["previous jwt secret"], true)
	session, key := k.aCall(user)
	k.classics(user)
	k.badCredentials(session, key, user)
	k.operators(session, key, user, admin)
	k.hook(user)
	k.files()
	k.overhear()
	k.Stop()
	for _, sign := range []string{"session joined", "session resumed", "renewal acked", "session renewed over HTTP", "SDK refused", "session ended", "stopped"} {
		if !strings.Contains(k.log.String(), sign) {
			t.Errorf("not in the log: %s", sign)
		}
	}
	k.verdict()
}

// aCall opens, renews and ends a session.
func (k *keeper) aCall(user string) (session, key string) {
	k.t.Helper()
	s := k.Dial()
	s.Send(apptest.JoinMessage(user, `"rtc":{"channel":"c","uid":7,"role":"publisher"},"rtm":{"userId":"u"},"chat":{"userId":"u"},"ttl":60`))
	joined := k.keep(s.Expect("joined"))
	s.Send(`{"type":"renew"}`)
	push := k.keep(s.Expect("token-privilege-will-expire"))
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, push.Seq))
	s.Send(`{"type":"renew"}`)
	push = k.keep(s.Expect("token-privilege-will-expire"))
	// An SDK's error message may quote the token.
	s.Send(fmt.Sprintf(`{"type":"nack","seq":%d,"code":"ERR_INVALID_TOKEN","message":"invalid token: %s; try %s"}`,
		push.Seq, push.Tokens.RTC.Token, joined.Key))
	k.keep(s.Expect("token-privilege-will-expire"))
	s.Send(`{"type":"nonsense ` + push.Tokens.RTM.Token + `"}`)
	s.Expect("error") // this answer repeats the client's own text, so the test does not search it for secrets
	if err := s.CloseNow(); err != nil {
		k.t.Fatal(err)
	}
	k.say(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key+"x"), "unknown_session")
	k.say(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, "another", joined.Key), "unknown_session")
	s = k.Dial()
	s.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d}`, joined.Session, joined.Key, push.Seq))
	resumed := k.keep(s.Expect("joined"))
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, resumed.Seq))
	s.Send(`{"type":"ping"}`)
	s.Expect("pong")
	k.visit(apptest.Post(fmt.Sprintf("/v1/sessions/%s/renew", joined.Session), fmt.Sprintf(`{"seq":%d}`, resumed.Seq)), resumed.Key, http.StatusOK)
	k.visit(apptest.Post("/v1/sessions/"+joined.Session+"/renew", ""), resumed.Key[1:], http.StatusNotFound)
	k.visit(apptest.Post("/v1/sessions/another/renew", ""), resumed.Key, http.StatusNotFound)
	k.visit(apptest.Post("/v1/sessions/another/leave", fmt.Sprintf(`{"key":%q}`, resumed.Key)), "", http.StatusNotFound)
	k.visit(apptest.Post("/v1/sessions/"+joined.Session+"/leave", fmt.Sprintf(`{"key":%q`, resumed.Key)), "", http.StatusBadRequest)
	k.visit(apptest.Post("/v1/sessions/"+joined.Session+"/leave", fmt.Sprintf(`{"key":%q,"seq":%q}`, resumed.Key, resumed.Key)), "", http.StatusBadRequest)
	return resumed.Session, resumed.Key
}

// classics requests tokens from the classic endpoints.
func (k *keeper) classics(user string) {
	for _, request := range apptest.AllClassic("c", "7", "u") {
		k.visit(request, user, http.StatusOK)
	}
	for _, request := range []apptest.Request{apptest.Get("/rtc/c/admin/uid/7"), apptest.Get("/rtm/0"), apptest.Post("/getToken", "{"), apptest.Post("/getToken", `{"tokenType":"rtc","channel":5}`)} {
		k.visit(request, user, http.StatusBadRequest)
	}
	k.visit(apptest.Get("/chat/app"), user, http.StatusForbidden)
}

// badCredentials sends all kinds of invalid credentials, in headers, paths and messages.
func (k *keeper) badCredentials(session, key, user string) {
	k.t.Helper()
	foreign := k.credential("another secret of thirty-two bytes and more", true)
	for _, bad := range []string{
		foreign, user + "x", user[:len(user)-5], strings.Replace(user, ".", "..", 1), key, apptest.Certificate, k.secrets["jwt secret"],
		k.secrets["session secret"], "Basic " + user,
	} {
		k.say(apptest.JoinMessage(bad, `"rtm":{"userId":"u"}`), "unauthenticated")
		for _, request := range []apptest.Request{apptest.Get("/rtm/u"), apptest.Get("/v1/sessions"), apptest.Ask("DELETE", "/v1/sessions/"+session, ""), apptest.Post("/v1/revocations", `{"channel":"c"}`)} {
			k.visit(request, bad, http.StatusUnauthorized)
		}
	}
	k.visit(apptest.Get("/v1/sessions"), user, http.StatusForbidden)
}

// operators calls the operators' endpoints.
func (k *keeper) operators(session, key, user, admin string) {
	k.t.Helper()
	s := k.Dial()
	s.Send(apptest.JoinMessage(user, `"rtc":{"channel":"d","uid":8,"role":"publisher"},"ttl":4`))
	joined := k.keep(s.Expect("joined"))
	push := k.keep(s.Expect("token-privilege-will-expire")) // the session's record is in the store by now
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, push.Seq))
	for _, request := range []apptest.Request{
		apptest.Get("/v1/sessions"), apptest.Get("/v1/sessions?channel=c&limit=1"), apptest.Get("/v1/sessions/" + session), apptest.Ask("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"subscriber"}}`),
		apptest.Get("/v1/certificates"), apptest.Get("/v1/revocations"),
		apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q,"channel":"c","uid":9}`, push.Tokens.RTC.Token)),
		apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, apptest.Certificate)), apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, key)),
		apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, user)), apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, push.Tokens.RTC.Token[:90])),
		apptest.Ask("DELETE", "/v1/sessions/"+session, ""), apptest.Post("/v1/revocations", `{"channel":"d","for":60}`),
	} {
		k.visit(request, admin, http.StatusOK)
	}
	for {
		m, closed := s.Next()
		if closed != 0 {
			break
		}
		k.keep(m)
	}
	k.visit(apptest.Post("/v1/sessions/"+session+"/renew", ""), key, http.StatusGone)
	k.say(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, session, key), "revoked")
	k.say(apptest.JoinMessage(user, `"rtc":{"channel":"d","uid":8}`), "forbidden")
	k.visit(apptest.Get("/rtc/d/publisher/uid/1"), user, http.StatusForbidden)
	k.visit(apptest.Get("/v1/sessions?cursor="+push.Tokens.RTC.Token[3:40]), admin, http.StatusBadRequest)
}

// hook makes the back end deny, fail, and send malformed answers.
func (k *keeper) hook(user string) {
	k.t.Helper()
	k.backEnd.behave(http.StatusOK, false)
	k.say(apptest.JoinMessage(user, `"rtm":{"userId":"u"}`), "forbidden")
	k.visit(apptest.Get("/rtm/u"), user, http.StatusForbidden)
	for _, status := range []int{http.StatusInternalServerError, http.StatusFound, http.StatusTooManyRequests} {
		k.backEnd.behave(status, true)
		for range 3 {
			k.say(apptest.JoinMessage(user, `"rtm":{"userId":"u"}`), "unavailable")
			k.visit(apptest.Get("/rtm/u"), user, http.StatusServiceUnavailable)
		}
	}
	k.backEnd.CloseClientConnections()
	k.backEnd.Close() // requests to the back end now fail with a network error
	k.say(apptest.JoinMessage(user, `"rtm":{"userId":"u"}`), "unavailable")
}

// files changes the certificate file, and makes it malformed.
func (k *keeper) files() {
	k.t.Helper()
	k.certificateFile(apptest.NextCertificate + "\n" + apptest.Certificate + "\n")
	k.log.await(k.t, `another certificate`)
	for _, broken := range []string{k.secrets["broken certificate"], "", strings.Repeat(apptest.Certificate+"\n", 9)} {
		k.certificateFile(broken)
		k.log.await(k.t, `"level":"(WARN|ERROR)","msg":"[^"]*file[^"]*"`)
	}
}

// Errors about a secret in the settings do not contain it.
func TestSecretsAreNotInErrors(t *testing.T) {
	s := known()
	s["bad certificate"], s["short"], s["key"] = apptest.Certificate[:31], "hush-hush", "-----BEGIN PRIVATE KEY-----\nhush-hush\n-----END PRIVATE KEY-----"
	for name, change := range map[string]func(*app.Config){
		"app-certificate": func(c *app.Config) { c.Projects[0].Certificates = []string{s["bad certificate"]} },
		"certificate in a file": func(c *app.Config) {
			c.Projects[0].CertificateFile = filepath.Join(t.TempDir(), "certificates")
			if err := os.WriteFile(c.Projects[0].CertificateFile, []byte(s["broken certificate"]), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"session-secret":          func(c *app.Config) { c.SessionSecret = s["short"] },
		"previous-session-secret": func(c *app.Config) { c.PreviousSessionSecret = s["short"] },
		"jwt-secret":              func(c *app.Config) { c.Auth, c.Projects[0].Keys.Secrets = "jwt", []string{s["short"]} },
		"jwt-public-key-file":     func(c *app.Config) { c.Auth, c.Projects[0].Keys.PublicKeyPEMs = "jwt", []string{s["key"]} },
		"jwks-url": func(c *app.Config) {
			c.Auth, c.Projects[0].Keys.JWKSURL = "jwt", "http://scott:hush-hush@keys.test/?key="+s["jwks query"]
		},
		"jwks-url, no address": func(c *app.Config) { c.Auth, c.Projects[0].Keys.JWKSURL = "jwt", "http://[hush-hush" },
		"events-url": func(c *app.Config) {
			c.Events.Secret, c.Events.URL = s["events secret"], "ftp://scott:hush-hush@events.test/?key="+s["events query"]
		},
		"events-url, no address":   func(c *app.Config) { c.Events.Secret, c.Events.URL = s["events secret"], "http://scott:hush-hush@%zz/" },
		"events-secret":            func(c *app.Config) { c.Events.Secret, c.Events.URL = s["short"], "http://events.test" },
		"events-secret, no base64": func(c *app.Config) { c.Events.Secret, c.Events.URL = "whsec_"+s["short"], "http://events.test" },
		"events-previous-secret": func(c *app.Config) {
			c.Events.Secret, c.Events.PreviousSecret, c.Events.URL = s["events secret"], s["short"], "http://events.test"
		},
		"authorize-url": func(c *app.Config) {
			c.Authorize.Secret, c.Authorize.URL = s["authorize secret"], "scott:hush-hush@authorize.test/?key="+s["authorize query"]
		},
		"authorize-secret": func(c *app.Config) { c.Authorize.Secret, c.Authorize.URL = s["short"], "http://authorize.test" },
		"authorize-previous-secret": func(c *app.Config) {
			c.Authorize.Secret, c.Authorize.PreviousSecret, c.Authorize.URL = s["authorize secret"], s["short"], "http://authorize.test"
		},
		"redis-url":             func(c *app.Config) { c.Redis.URL = "ftp://:" + s["redis password"] + "@127.0.0.1:1" },
		"redis-url, no address": func(c *app.Config) { c.Redis.URL = "redis://:" + s["redis password"] + "@%zz" },
		"redis-url, no port":    func(c *app.Config) { c.Redis.URL = "redis://127.0.0.1:" + s["redis password"] },
		"redis-url, options":    func(c *app.Config) { c.Redis.URL = "redis://:" + s["redis password"] + "@127.0.0.1:1?db=x" },
		"tls-cert-file": func(c *app.Config) {
			dir := t.TempDir()
			c.TLSCertFile, c.TLSKeyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
			for _, file := range []string{c.TLSCertFile, c.TLSKeyFile} {
				if err := os.WriteFile(file, []byte(s["key"]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		c := apptest.Config()
		change(&c)
		log := &journal{grown: make(chan struct{}, 1)}
		a, err := app.New(c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err == nil {
			t.Errorf("%s: taken as it is", name)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = a.Run(ctx, ctx, nil) // a stopped context: Run only closes the ports
			continue
		}
		if leaks := s.leaks(err.Error() + log.String()); len(leaks) > 0 {
			t.Errorf("%s: shown are %v: %v %s", name, leaks, err, log)
		}
	}
}

// The Redis password does not leak, whether Redis accepts it, refuses it, or cannot be reached.
func TestSecretsOfRedisAreNotShown(t *testing.T) {
	password := known()["redis password"]
	server := redistest.Start(t, "requirepass "+password)
	_, address, _ := strings.Cut(server.URL(), "://")
	for name, c := range map[string]struct{ url, sign string }{
		"right": {"redis://:" + password + "@" + address, `"msg":"session joined"`},
		"wrong": {"redis://:" + password + "x@" + address, `"level":"WARN"`},
		"gone":  {"redis://scott:" + password + "@127.0.0.1:1/3", `"level":"WARN"`},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t, c.url)
			user := k.credential(k.secrets["jwt secret"], false)
			if name == "right" {
				s := k.Dial()
				s.Send(apptest.JoinMessage(user, `"rtm":{"userId":"u"}`))
				k.keep(s.Expect("joined"))
				s.Send(`{"type":"leave"}`)
				s.Expect("ended")
			} else {
				k.say(apptest.JoinMessage(user, `"rtm":{"userId":"u"}`), "unavailable")
				k.visit(apptest.Get("/v1/sessions"), k.credential(k.secrets["jwt secret"], true), http.StatusServiceUnavailable)
				k.visit(apptest.Post("/v1/revocations", `{"channel":"c"}`), k.credential(k.secrets["jwt secret"], true), http.StatusServiceUnavailable)
			}
			k.overhear()
			k.Stop()
			if !strings.Contains(k.log.String(), c.sign) {
				t.Errorf("not in the log: %s", c.sign)
			}
			k.verdict()
		})
	}
}
