package access_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
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
)

// secrets maps names to the secrets that must not leak.
type secrets map[string]string

// settings returns the secrets in the settings of the test node.
func settings() secrets {
	return secrets{
		"certificate":               apptest.Certificate,
		"next certificate":          apptest.NextCertificate,
		"broken certificate":        "ffff1111-no-certificate-2222eeee",
		"session secret":            "seals-keys-0123456789-abcdefghij",
		"previous session secret":   "sealed-keys-9876543210-zyxwvutsr",
		"jwt secret":                apptest.OperatorSecret,
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
	}
}

// forms returns the texts in which programs print a secret, whole or in part.
func forms(secret string) []string {
	parts := []string{secret}
	if middle := len(secret) / 2; middle >= 16 {
		parts = append(parts, secret[len(secret)-16:], secret[middle-8:middle+8])
	}
	var all []string
	for _, part := range parts {
		raw := []byte(part)
		all = append(all, part, hex.EncodeToString(raw), strings.Trim(fmt.Sprint(raw), "[]"),
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

// The method `leaks` finds a secret in a log line in each form.
func TestLeaksAreFound(t *testing.T) {
	for name, secret := range settings() {
		for _, form := range forms(secret) {
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("control", "error", fmt.Errorf("a <%s> of %s", form, name))
			if len(settings().leaks(log.String())) == 0 {
				t.Errorf("%s is not found as %q", name, form)
			}
		}
	}
}

// watched is a node together with its back end. Each setting of the node that can contain a secret does so, and all
// output of the node is collected.
type watched struct {
	*apptest.LoggedNode
	secrets     secrets
	certificate string // path of the certificate file
	backEnd     *httptest.Server

	mu     sync.Mutex
	shown  strings.Builder // guarded by mu; the node's output, without answers to the owner of a session
	status int             // guarded by mu; the status of answers to approval requests; 0 means that the back end closes the connection without an answer
	allow  bool            // guarded by mu; the back end's decision
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{secrets: settings(), certificate: filepath.Join(t.TempDir(), "certificates"), status: http.StatusOK, allow: true}
	w.backEnd = httptest.NewServer(w)
	t.Cleanup(w.backEnd.Close)
	s := w.secrets
	address := func(name string) string {
		return strings.Replace(w.backEnd.URL, "://", "://scott:"+s[name+" password"]+"@", 1) + "/?key=" + s[name+" query"]
	}
	if err := os.WriteFile(w.certificate, []byte(apptest.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	w.LoggedNode = apptest.StartLoggedNode(t, func(c *app.Config) {
		c.Auth, c.Projects[0].CertificateFile = "jwt", w.certificate
		c.Projects[0].Keys = credential.Keys{
			Secrets: []string{s["jwt secret"], s["previous jwt secret"]}, JWKSURL: w.backEnd.URL + "/keys?key=" + s["jwks query"],
		}
		c.SessionSecret, c.PreviousSessionSecret = s["session secret"], s["previous session secret"]
		c.Events.URL, c.Events.Secret, c.Events.PreviousSecret = address("events"), s["events secret"], s["previous events secret"]
		c.Authorize.URL, c.Authorize.Secret, c.Authorize.PreviousSecret = address("authorize"), s["authorize secret"], s["previous authorize secret"]
	}, app.Outside{}, (&net.Dialer{}).DialContext)
	w.Level.Set(slog.LevelDebug)
	return w
}

var requestID = regexp.MustCompile(`"id":"([^"]+)"`)

// ServeHTTP is the back end, for events and approval requests alike.
func (w *watched) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.Write(body)
	if !strings.Contains(string(body), `"requests"`) {
		return
	}
	if w.status == 0 {
		panic(http.ErrAbortHandler)
	}
	var decisions []string
	for _, id := range requestID.FindAllStringSubmatch(string(body), -1) {
		decisions = append(decisions, fmt.Sprintf(`{"id":%q,"allow":%v}`, id[1], w.allow))
	}
	rw.WriteHeader(w.status)
	fmt.Fprintf(rw, `{"decisions":[%s]}`, strings.Join(decisions, ","))
}

func (w *watched) decide(status int, allow bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.allow = status, allow
}

// collect adds output of the node. No secret may appear in that output.
func (w *watched) collect(output ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintln(&w.shown, output...)
}

// learn adds a secret that the service has created.
func (w *watched) learn(secret string) string {
	w.secrets[fmt.Sprintf("secret %d, %.4s", len(w.secrets), secret)] = secret
	return secret
}

// own adds the tokens and the resume key in a message to the secrets. Only the owner of the session may see them.
func (w *watched) own(m apptest.Message) apptest.Message {
	for _, token := range apptest.TokensOf(m) {
		w.learn(token)
	}
	if m.Key != "" {
		w.learn(m.Key)
	}
	return m
}

var tokenText = regexp.MustCompile(`00[67][A-Za-z0-9+/=]{60,}`)

// visit makes a request and collects the answer. An answer with tokens for their owner is not collected; its tokens are
// new secrets.
func (w *watched) visit(r apptest.Request, credential string, want int) {
	w.T.Helper()
	answer, text := w.Visit(r.Method, r.Path, r.Body, "Authorization", "Bearer "+credential)
	if answer.StatusCode != want {
		w.T.Errorf("%s: %d %s, want %d", r, answer.StatusCode, text, want)
	}
	if want != http.StatusOK || strings.HasPrefix(r.Path, "/v1/") && !strings.HasSuffix(r.Path, "/renew") {
		w.collect(answer.Header, text)
		return
	}
	for _, token := range tokenText.FindAllString(text, -1) {
		w.learn(token)
	}
}

// refused sends a message on a new connection. The node must refuse the message with this code or reason.
func (w *watched) refused(text, code string) {
	w.T.Helper()
	s := w.Connect()
	s.Send(text)
	m, _ := s.Next()
	if m.Code != code && m.Reason != code {
		w.T.Errorf("got %+v, want %s", m, code)
	}
	w.collect(m)
}

// verdict checks that the node has shown no secret.
func (w *watched) verdict(log string) {
	w.T.Helper()
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1"} {
		w.collect(w.Operations(path))
	}
	w.Stop()
	log += w.Log.Take()
	w.mu.Lock()
	defer w.mu.Unlock()
	text := log + w.shown.String()
	if len(w.secrets.leaks(text)) == 0 {
		return
	}
	for line := range strings.Lines(text) {
		if names := w.secrets.leaks(line); len(names) > 0 {
			w.T.Errorf("shown are %v in %s", names, line)
		}
	}
}

// A node whose settings contain every kind of secret shows no secret in its logs, metrics and answers, whatever it
// does.
func TestSecretsAreNotShown(t *testing.T) {
	w := watch(t)
	user, admin := w.learn(apptest.CredentialFor(t, "ana", false)), w.learn(apptest.CredentialFor(t, "operator", true))
	const services = `"rtc":{"channel":"c","uid":7,"role":"publisher"},"rtm":{"userId":"u"},"chat":{"userId":"u"}`

	// The owner of the session renews it, refuses tokens, and resumes.
	s := w.Connect()
	s.Send(apptest.JoinMessage(user, services))
	joined := w.own(s.Expect(protocol.TypeJoined))
	s.Send(`{"type":"renew"}`)
	push := w.own(s.Expect(protocol.TypeWillExpire))
	s.Send(fmt.Sprintf(`{"type":"nack","seq":%d,"code":"ERR_INVALID_TOKEN","message":"invalid token: %s; try %s"}`, push.Seq, push.Tokens.RTC.Token, joined.Key))
	push = w.own(s.Expect(protocol.TypeWillExpire))
	s.Send(`{"type":"nonsense ` + push.Tokens.RTM.Token + `"}`)
	s.Expect(protocol.TypeError) // the answer is not collected, since it repeats the client's text, which contains a token
	_ = s.CloseNow()
	w.refused(apptest.ResumeText(apptest.Message{Session: joined.Session, Key: joined.Key + "x"}, 1), "unknown_session")
	w.refused(apptest.ResumeText(apptest.Message{Session: "another", Key: joined.Key}, 1), "unknown_session")
	s = w.Connect()
	s.Send(apptest.ResumeText(joined, push.Seq))
	resumed := w.own(s.Expect(protocol.TypeJoined))
	key, id := resumed.Key, "/v1/sessions/"+resumed.Session

	for _, r := range apptest.AllClassic("c", "7", "u") {
		w.visit(r, user, http.StatusOK)
	}
	for _, c := range []struct {
		request    apptest.Request
		credential string
		status     int
	}{
		{apptest.Post(id+"/renew", fmt.Sprintf(`{"seq":%d}`, resumed.Seq)), key, http.StatusOK},
		{apptest.Post(id+"/renew", ""), key[1:], http.StatusNotFound},
		{apptest.Post(id+"/leave", fmt.Sprintf(`{"key":%q`, key)), "", http.StatusBadRequest},
		{apptest.Post(id+"/leave", fmt.Sprintf(`{"key":%q,"seq":%q}`, key, key)), "", http.StatusBadRequest},
		{apptest.Post("/v1/sessions/another/leave", fmt.Sprintf(`{"key":%q}`, key)), "", http.StatusNotFound},
		{apptest.Get("/rtc/c/admin/uid/7"), user, http.StatusBadRequest},
		{apptest.Post("/getToken", `{"tokenType":"rtc","channel":5}`), user, http.StatusBadRequest},
		{apptest.Get("/chat/app"), user, http.StatusForbidden},
		{apptest.Get("/v1/sessions"), user, http.StatusForbidden},
		{apptest.Get("/v1/sessions?cursor=" + push.Tokens.RTC.Token[3:40]), admin, http.StatusBadRequest},
		{apptest.Get("/v1/sessions"), admin, http.StatusOK},
		{apptest.Get(id), admin, http.StatusOK},
		{apptest.Ask("PATCH", id, `{"rtc":{"role":"subscriber"}}`), admin, http.StatusOK},
		{apptest.Get("/v1/certificates"), admin, http.StatusOK},
		{apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q,"channel":"c","uid":9}`, push.Tokens.RTC.Token)), admin, http.StatusOK},
		{apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, push.Tokens.RTC.Token[:90])), admin, http.StatusOK},
		{apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, apptest.Certificate)), admin, http.StatusOK},
		{apptest.Post("/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, key)), admin, http.StatusOK},
		{apptest.Ask("DELETE", id, ""), admin, http.StatusOK},
		{apptest.Post(id+"/renew", ""), key, http.StatusGone},
		{apptest.Post("/v1/revocations", `{"channel":"d","for":60}`), admin, http.StatusOK},
		{apptest.Get("/v1/revocations"), admin, http.StatusOK},
		{apptest.Get("/rtc/d/publisher/uid/1"), user, http.StatusForbidden},
	} {
		w.visit(c.request, c.credential, c.status)
	}
	w.refused(apptest.ResumeText(apptest.Message{Session: joined.Session, Key: key}, 1), "revoked")

	foreign := w.learn(apptest.Pass(nil))
	for _, bad := range []string{foreign, user + "x", user[:len(user)-5], strings.Replace(user, ".", "..", 1), key, apptest.Certificate, w.secrets["jwt secret"]} {
		w.refused(apptest.JoinMessage(bad, services), "unauthenticated")
		for _, r := range []apptest.Request{apptest.Get("/rtm/u"), apptest.Get("/v1/sessions"), apptest.Post("/v1/revocations", `{"channel":"c"}`)} {
			w.visit(r, bad, http.StatusUnauthorized)
		}
	}

	w.decide(http.StatusOK, false)
	w.refused(apptest.JoinMessage(user, services), "forbidden")
	for _, status := range []int{http.StatusInternalServerError, http.StatusFound, http.StatusTooManyRequests, 0} {
		w.decide(status, true)
		w.refused(apptest.JoinMessage(user, services), "unavailable")
		w.visit(apptest.Get("/rtm/u"), user, http.StatusServiceUnavailable)
	}

	log := w.Log.Take()
	for _, c := range []struct{ file, logged string }{
		{apptest.NextCertificate + "\n" + apptest.Certificate, "certificate rotation started"},
		{w.secrets["broken certificate"], "file"},
		{strings.Repeat(apptest.Certificate+"\n", 9), "file"},
	} {
		if err := os.WriteFile(w.certificate, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		w.Reloads <- os.Interrupt
		w.Log.Await(c.logged)
		log += w.Log.Take()
	}
	for _, sign := range []string{"session joined", "session resumed", "session renewed over HTTP", "SDK refused", "session ended"} {
		if !strings.Contains(log, sign) {
			t.Errorf("not in the log: %s", sign)
		}
	}
	w.verdict(log)
}

// Errors about a secret in the settings do not contain it.
func TestSecretsAreNotInErrors(t *testing.T) {
	s := settings()
	s["bad certificate"], s["short"], s["key"] = apptest.Certificate[:31], "hush-hush", "-----BEGIN PRIVATE KEY-----\nhush-hush\n-----END PRIVATE KEY-----"
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, change := range map[string]func(*app.Config){
		"app-certificate":         func(c *app.Config) { c.Projects[0].Certificates = []string{s["bad certificate"]} },
		"a certificate in a file": func(c *app.Config) { c.Projects[0].CertificateFile = file(s["broken certificate"]) },
		"session-secret":          func(c *app.Config) { c.SessionSecret = s["short"] },
		"previous-session-secret": func(c *app.Config) { c.PreviousSessionSecret = s["short"] },
		"jwt-secret":              func(c *app.Config) { c.Auth, c.Projects[0].Keys.Secrets = "jwt", []string{s["short"]} },
		"jwt-public-key-file":     func(c *app.Config) { c.Auth, c.Projects[0].Keys.PublicKeyPEMs = "jwt", []string{s["key"]} },
		"jwks-url":                func(c *app.Config) { c.Auth, c.Projects[0].Keys.JWKSURL = "jwt", "http://scott:hush-hush@keys.test/" },
		"events-url": func(c *app.Config) {
			c.Events.Secret, c.Events.URL = s["events secret"], "ftp://scott:hush-hush@events.test/?key="+s["events query"]
		},
		"events-secret": func(c *app.Config) { c.Events.Secret, c.Events.URL = s["short"], "http://events.test" },
		"authorize-previous-secret": func(c *app.Config) {
			c.Authorize.Secret, c.Authorize.PreviousSecret, c.Authorize.URL = s["authorize secret"], s["short"], "http://authorize.test"
		},
		"redis-url":     func(c *app.Config) { c.Redis.URL = "redis://127.0.0.1:" + s["redis password"] },
		"tls-cert-file": func(c *app.Config) { c.TLSCertFile, c.TLSKeyFile = file(s["key"]), file(s["key"]) },
	} {
		c := apptest.Config()
		change(&c)
		var log strings.Builder
		a, err := app.New(c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err == nil {
			t.Errorf("%s: accepted", name)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = a.Run(ctx, ctx, nil) // since ctx is done, Run only closes the ports
			continue
		}
		if leaks := s.leaks(err.Error() + log.String()); len(leaks) > 0 {
			t.Errorf("%s: shown are %v: %v %s", name, leaks, err, &log)
		}
	}
}
