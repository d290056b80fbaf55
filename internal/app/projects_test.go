package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/project"
	"refresher/internal/protocol"
	"refresher/internal/rotation"
)

// tenant is a project as its own people know it.
type tenant struct {
	app, certificate, secret string
}

var (
	firstTenant  = tenant{testAppID, testCertificate, jwtSecret}
	secondTenant = tenant{otherAppID, otherCertificate, otherSecret}
)

// pass is a credential of the project.
func (p *tenant) pass(change map[string]any) string {
	c := goodClaims(change)
	c["app"] = p.app
	return signWith(p.secret, c)
}

// owns expects a token to be of this project: its App ID, its signature.
func (p *tenant) owns(t *testing.T, what, text string, others ...*tenant) {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if err := token.Verify(p.certificate, agora.Holder{}); err != nil || token.AppID != p.app {
		t.Errorf("%s: of %s, %v", what, token.AppID, err)
	}
	for _, other := range others {
		if token.Verify(other.certificate, agora.Holder{}) == nil {
			t.Errorf("%s: signed by another project", what)
		}
	}
}

// open joins a call of the project, which stays connected and confirms all it gets.
func (p *tenant) open(g *guarded, change map[string]any) *holder {
	h := &holder{g: g}
	h.connect(`{"type":"join","auth":"` + p.pass(change) + `","rtc":{"channel":"daily","uid":7},"rtm":{"userId":"7"}}`)
	return h
}

// tokensOf is every token of a message, by name.
func tokensOf(m message) map[string]string {
	tokens := make(map[string]string)
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM, "chat": m.Tokens.Chat} {
		if token != nil {
			tokens[name] = token.Token
		}
	}
	return tokens
}

// Each project's people get its own tokens at every giver, on a return and at a
// renewal too.
func TestProjectsGetTokensOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) {
			two(c)
			c.Heartbeat = 2 * time.Hour
		})
		for _, c := range []struct{ own, other *tenant }{{&firstTenant, &secondTenant}, {&secondTenant, &firstTenant}} {
			checked := 0
			for i := range givers {
				w := usualWish
				a, tokens := g.ask(&givers[i], &w, c.own.pass(nil))
				if a.status != http.StatusOK || len(tokens) != len(givers[i].tokens) {
					t.Errorf("%s: %+v", givers[i].name, a)
				}
				for _, token := range tokens {
					c.own.owns(t, givers[i].name, token, c.other)
					checked++
				}
			}
			h := c.own.open(g, nil)
			bundle := func(what string) {
				newest, _, _, _ := h.state()
				for name, token := range tokensOf(newest) {
					c.own.owns(t, what+" "+name, token, c.other)
					checked++
				}
			}
			bundle("join")
			h.socket.send(`{"type":"renew"}`)
			synctest.Wait()
			bundle("renew")
			newest, joined, _, _ := h.state()
			_ = h.socket.CloseNow()
			h.connect(resume(joined, newest.Seq))
			bundle("resume")
			if status := h.overHTTP(); status != http.StatusOK {
				t.Errorf("renewal over HTTP: %d", status)
			}
			bundle("HTTP")
			time.Sleep(time.Second) // bubble
			_, joined, _, _ = h.state()
			if r := g.adminWith(c.own.pass(nil), "PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"publisher"}}`, nil); r.StatusCode != http.StatusOK {
				t.Errorf("role: %d", r.StatusCode)
			}
			synctest.Wait()
			bundle("role")
			time.Sleep(time.Hour) // bubble
			bundle("schedule")
			h.socket.send(`{"type":"leave"}`)
			h.reading.Wait()
			t.Logf("%d tokens of %s", checked, c.own.app)
		}
	})
}

// An operator sees and changes the calls of one project. Those of another are not
// there for it, by no entrance.
func TestOperatorsKeepToTheirProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) {
			two(c)
			c.Heartbeat = time.Hour
		})
		// The same channel, users and subject in both.
		mine, theirs := secondTenant.open(g, nil), firstTenant.open(g, nil)
		time.Sleep(time.Second) // bubble
		_, own, _, _ := mine.state()
		before, foreign, _, _ := theirs.state()
		me := secondTenant.pass(map[string]any{"sub": "operator"})

		for _, query := range []string{"", "?channel=daily", "?uid=7", "?subject=ana", "?limit=1", "?channel=daily&uid=7&subject=ana&limit=200"} {
			seen := g.everySession(me, query)
			if len(seen) != 1 || seen[0] != own.Session {
				t.Errorf("%q lists %q, want %q alone", query, seen, own.Session)
			}
		}

		var revocation struct{ ID string }
		g.admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)
		for _, e := range []entrance{
			{method: "GET", path: "/v1/sessions/" + foreign.Session},
			{method: "PATCH", path: "/v1/sessions/" + foreign.Session, body: `{"rtc":{"role":"publisher"}}`},
			{method: "PATCH", path: "/v1/sessions/" + foreign.Session, body: `{"renew":true}`},
			{method: "DELETE", path: "/v1/sessions/" + foreign.Session},
			{method: "GET", path: "/v1/revocations/" + revocation.ID},
			{method: "DELETE", path: "/v1/revocations/" + revocation.ID},
		} {
			missing := strings.NewReplacer(foreign.Session, "NOSUCHSESSION", revocation.ID, "NOSUCH")
			a := g.enter(&e, strings.NewReplacer(), me, nil)
			unknown := g.enter(&e, missing, me, nil)
			e.path = missing.Replace(e.path)
			none := g.enter(&e, strings.NewReplacer(), me, nil)
			if a.status != http.StatusNotFound || a.body != none.body || unknown.body != none.body {
				t.Errorf("%s: %d %s; of what is not there: %s", &e, a.status, a.body, none.body)
			}
		}
		var list struct{ Revocations []struct{ ID string } }
		if g.adminWith(me, "GET", "/v1/revocations", "", &list); len(list.Revocations) != 0 {
			t.Errorf("sees revocations of another project: %+v", list)
		}

		// Its own revocations, however wide, end at the project.
		var done struct{ Ended int }
		for _, body := range []string{`{"channel":"daily"}`, `{"uid":7}`, `{"subject":"ana"}`, `{"channel":"daily","uid":7,"subject":"ana","for":60}`} {
			g.adminWith(me, "POST", "/v1/revocations", body, &done)
		}
		var certificates rotation.Report
		g.adminWith(me, "GET", "/v1/certificates", "", &certificates)
		if own := agora.Fingerprint(secondTenant.certificate).String(); len(certificates.Certificates) != 1 || certificates.Certificates[0].Fingerprint != own {
			t.Errorf("sees the certificates %+v, want %s alone", certificates.Certificates, own)
		}
		time.Sleep(time.Second) // bubble
		if _, _, ended, closed := mine.state(); ended != "revoked" || closed != protocol.CloseEnded {
			t.Errorf("its own call: ended %q, closed with %d", ended, closed)
		}
		after, _, ended, closed := theirs.state()
		if ended != "" || closed != 0 || after.Seq != before.Seq {
			t.Errorf("another project's call: ended %q, closed with %d, seq from %d to %d", ended, closed, before.Seq, after.Seq)
		}
		for _, c := range []struct {
			who  *tenant
			want int
		}{{&secondTenant, http.StatusForbidden}, {&firstTenant, http.StatusOK}} {
			e := entrance{method: "GET", path: "/rtc/daily/publisher/uid/7"}
			if a := g.enter(&e, strings.NewReplacer(), c.who.pass(nil), nil); a.status != c.want {
				t.Errorf("a token of %s for the revoked channel: %+v", c.who.app, a)
			}
			a := g.join(`"rtc":{"channel":"daily","uid":8}`, c.who.pass(nil))
			if (a.status == http.StatusOK) != (c.want == http.StatusOK) {
				t.Errorf("a join of %s to the revoked channel: %+v", c.who.app, a)
			}
		}
		// The key of the call that goes on goes on, too.
		_ = theirs.socket.CloseNow()
		theirs.connect(resume(foreign, after.Seq))
		if newest, _, ended, _ := theirs.state(); ended != "" || newest.Seq != after.Seq+1 {
			t.Errorf("a return: %+v, ended %q", newest, ended)
		}
		_ = theirs.socket.CloseNow()
		theirs.reading.Wait()
		mine.reading.Wait()
	})
}

// everySession lists all sessions, page by page.
func (g *guarded) everySession(credential, query string) (ids []string) {
	g.t.Helper()
	for cursor := ""; ; {
		path := "/v1/sessions" + query
		if cursor != "" {
			if query == "" {
				path += "?"
			}
			path += "&cursor=" + cursor
		}
		var page struct {
			Sessions []struct{ ID, App string }
			Cursor   string
		}
		g.adminWith(credential, "GET", path, "", &page)
		for _, s := range page.Sessions {
			ids = append(ids, s.ID)
		}
		if cursor = page.Cursor; cursor == "" {
			return ids
		}
	}
}

// Sessions of a project that a node does not serve are unknown to it, though it can
// read their keys.
func TestProjectThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, two)
		h := secondTenant.open(g, nil)
		kept := firstTenant.open(g, nil)
		_, joined, _, _ := h.state()
		_, keptJoined, _, _ := kept.state()
		g.stop()
		h.reading.Wait()
		kept.reading.Wait()

		g = newGuarded(t, func(c *Config) {
			two(c)
			c.Projects = c.Projects[:1]
		})
		h.g, kept.g = g, g
		if status := h.overHTTP(); status != http.StatusNotFound {
			t.Errorf("a renewal: %d", status)
		}
		h.connect(resume(joined, 1))
		h.reading.Wait()
		if _, _, _, closed := h.state(); closed != protocol.CloseUnknownSession {
			t.Errorf("a return: closed with %d", closed)
		}
		if a := g.join(`"rtm":{"userId":"7"}`, secondTenant.pass(nil)); a.code != "unauthenticated" {
			t.Errorf("a join: %+v", a)
		}
		kept.connect(resume(keptJoined, 1))
		newest, _, _, _ := kept.state()
		if newest.Seq != 2 {
			t.Errorf("the project that stayed: %+v", newest)
		}
		firstTenant.owns(t, "the project that stayed", newest.Tokens.RTC.Token, &secondTenant)
		_ = kept.socket.CloseNow()
		kept.reading.Wait()
	})
}

// What a token is inspected against is the caller's own project.
func TestInspectionKeepsToTheProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, two)
		e := entrance{method: "GET", path: "/rtm/ana"}
		var got struct{ RTMToken string }
		if err := json.Unmarshal([]byte(g.enter(&e, strings.NewReplacer(), firstTenant.pass(nil), nil).body), &got); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			who  *tenant
			good bool
		}{{&firstTenant, true}, {&secondTenant, false}} {
			e := entrance{method: "POST", path: "/v1/tokens/inspect", body: `{"token":"` + got.RTMToken + `","account":"ana"}`}
			a := g.enter(&e, strings.NewReplacer(), c.who.pass(nil), nil)
			if a.status != http.StatusOK || strings.Contains(a.body, `"severity":"error"`) == c.good {
				t.Errorf("as %s: %d %s", c.who.app, a.status, a.body)
			}
			if strings.Contains(a.body, testCertificate) || strings.Contains(a.body, otherCertificate) {
				t.Errorf("shows a certificate: %s", a.body)
			}
		}
	})
}

// Settings of several projects that do not go together are refused, and no secret is
// quoted.
func TestRefusedProjects(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"session-secret: wanted where": func(c *Config) { c.SessionSecret = "" },
		"session secret: ":             func(c *Config) { c.SessionSecret = "too short" },
		"app-id: " + testAppID:         func(c *Config) { c.Projects[1].AppID = testAppID },
		"app-id: ":                     func(c *Config) { c.Projects[1].AppID = "x" },
		"app-certificate: ":            func(c *Config) { c.Projects[1].Certificates = nil },
		"app-certificate":              func(c *Config) { c.Projects[1].Certificates = []string{"not hexadecimal"} },
		"want one of jwt-secret":       func(c *Config) { c.Projects[1].Keys.Secrets = nil },
		"jwt-secret: ":                 func(c *Config) { c.Projects[1].Keys.Secrets = []string{"too short, this one"} },
		"jwt-secret: want":             func(c *Config) { c.Projects[1].Keys.Secrets = []string{otherSecret, otherSecret, otherSecret} },
		"jwt-public-key-file: ":        func(c *Config) { c.Projects[1].Keys.PublicKeyPEMs = []string{otherSecret} },
		"jwks-url: ":                   func(c *Config) { c.Projects[1].Keys.JWKSURL = "http://ana:" + otherSecret + "@example.com/" },
		"auth: none does":              func(c *Config) { c.Auth = "none" },
	} {
		c := testConfig()
		two(&c)
		change(&c)
		_, err := New(c, quiet)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
			continue
		}
		for _, secret := range []string{
			testCertificate, otherCertificate, jwtSecret, otherSecret, "not hexadecimal", "too short", "seals the keys",
		} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s quotes a secret: %v", want, err)
			}
		}
	}
}

// The projects file is read again when it changes: a certificate that stands in it is
// rotated under live calls, and projects that come or go are named in the log.
func TestProjectsFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "projects.yaml")
		var mu sync.Mutex
		var read []project.Project // guarded by mu
		var broken error           // guarded by mu
		breaks := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			broken = err
		}
		change := func(projects ...project.Project) {
			t.Helper()
			mu.Lock()
			read = projects
			mu.Unlock()
			if err := os.WriteFile(file, fmt.Appendf(nil, "%p %d", projects, time.Now().UnixNano()), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Second) // bubble: it is looked at every 5 s
		}
		config := testConfig()
		two(&config)
		change(config.Projects...)
		g := newGuarded(t, func(c *Config) {
			two(c)
			c.Heartbeat, c.Policy.CertificateSpread = time.Hour, time.Minute
			c.ProjectsFile, c.ReadProjects = file, func() ([]project.Project, error) {
				mu.Lock()
				defer mu.Unlock()
				return read, broken
			}
		})
		h := firstTenant.open(g, nil)
		theirs := secondTenant.open(g, nil)
		first, second := config.Projects[0], config.Projects[1]

		first.Certificates = []string{newCertificate, testCertificate}
		change(first, second)
		time.Sleep(time.Minute) // bubble
		h.signedBy(newCertificate)
		if newest, _, _, _ := theirs.state(); newest.Seq != 1 {
			t.Errorf("the other project's call: seq %d", newest.Seq)
		}
		if log := g.log.take(); strings.Count(log, "another certificate from now on") != 1 || strings.Contains(log, newCertificate) {
			t.Errorf("the log: %s", log)
		}

		// What cannot be used changes nothing, and is tried again.
		first.Certificates = []string{thirdCertificate}
		short := second
		short.Keys.Secrets = []string{"short"}
		change(first, short)
		time.Sleep(time.Minute) // bubble
		h.signedBy(newCertificate)
		change(first, first)
		time.Sleep(time.Minute) // bubble
		h.signedBy(newCertificate)
		missing := errors.New("a file that it names is not there")
		breaks(missing)
		change(first, second)
		time.Sleep(time.Minute) // bubble
		h.signedBy(newCertificate)
		log := g.log.take()
		for _, want := range []string{"jwt-secret: want at least 32 bytes", "is there twice", missing.Error()} {
			if strings.Count(log, want) != 1 {
				t.Errorf("not logged once, %q: %s", want, log)
			}
		}
		breaks(nil)
		time.Sleep(time.Minute + 6*time.Second) // bubble
		h.signedBy(thirdCertificate)

		g.log.take()
		first.Keys.JWKSURL = "https://login.example.com/keys"
		change(first, project.Project{AppID: strings.Repeat("a", 32), Certificates: []string{otherCertificate}, Keys: second.Keys})
		log = g.log.take()
		for _, want := range []string{
			"a project was added to the projects file; it is served after a restart\" app_id=" + strings.Repeat("a", 32),
			"a project is gone from the projects file; it is served until a restart\" app_id=" + otherAppID,
			"jwksUrl of a project has changed; its key set stays until a restart\" app_id=" + testAppID,
		} {
			if !strings.Contains(log, want) {
				t.Errorf("no %q in the log: %s", want, log)
			}
		}
		theirs.socket.send(`{"type":"renew"}`)
		synctest.Wait()
		if newest, _, ended, _ := theirs.state(); newest.Seq != 2 || ended != "" {
			t.Errorf("the call of the project that is gone: seq %d, ended %q", newest.Seq, ended)
		}
		h.leave()
		theirs.leave()
	})
}

// The files of a project that is gone from the projects file go with it: nobody misses
// them.
func TestFilesOfAProjectThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		file, certificate, secret := filepath.Join(folder, "projects.yaml"), filepath.Join(folder, "certificate"), filepath.Join(folder, "secret")
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(file, "both")
		write(certificate, otherCertificate)
		write(secret, otherSecret)
		var gone atomic.Bool
		g := newGuarded(t, func(c *Config) {
			two(c)
			second := &c.Projects[1]
			second.CertificateFile, second.KeyFiles = certificate, []string{secret}
			keys := second.Keys
			second.ReadKeys = func() (credential.Keys, error) { return keys, nil }
			all := c.Projects
			c.ProjectsFile, c.ReadProjects = file, func() ([]project.Project, error) {
				if gone.Load() {
					return all[:1], nil
				}
				return all, nil
			}
		})
		theirs := secondTenant.open(g, nil)
		gone.Store(true)
		write(file, "the first")
		if err := errors.Join(os.Remove(certificate), os.Remove(secret)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second) // bubble
		if log := g.log.take(); !strings.Contains(log, "a project is gone") || strings.Contains(log, "can't be used") {
			t.Errorf("the log: %s", log)
		}
		theirs.socket.send(`{"type":"renew"}`)
		synctest.Wait()
		if newest, _, ended, _ := theirs.state(); newest.Seq != 2 || ended != "" {
			t.Errorf("the call of the project that is gone: seq %d, ended %q", newest.Seq, ended)
		}
		theirs.leave()
	})
}
