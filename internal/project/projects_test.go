package project_test

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
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/project"
	"refresher/internal/protocol"
)

// A node does not know the sessions of a project that it does not serve, though it can open their resume
// keys.
func TestProjectThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		h := apptest.SecondTenant.Open(g, nil)
		kept := apptest.FirstTenant.Open(g, nil)
		_, joined, _, _ := h.State()
		_, keptJoined, _, _ := kept.State()
		g.Stop()
		h.Reading.Wait()
		kept.Reading.Wait()

		g = apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Projects = c.Projects[:1]
		})
		h.G, kept.G = g, g
		if status := h.OverHTTP(); status != http.StatusNotFound {
			t.Errorf("a renewal: %d", status)
		}
		h.Connect(apptest.ResumeText(joined, 1))
		h.Reading.Wait()
		if _, _, _, closed := h.State(); closed != protocol.CloseUnknownSession {
			t.Errorf("a return: closed with %d", closed)
		}
		if a := g.Join(`"rtm":{"userId":"7"}`, apptest.SecondTenant.Pass(nil)); a.Code != "unauthenticated" {
			t.Errorf("a join: %+v", a)
		}
		kept.Connect(apptest.ResumeText(keptJoined, 1))
		newest, _, _, _ := kept.State()
		if newest.Seq != 2 {
			t.Errorf("the project that stayed: %+v", newest)
		}
		apptest.FirstTenant.Owns(t, "the project that stayed", newest.Tokens.RTC.Token, &apptest.SecondTenant)
		_ = kept.Socket.CloseNow()
		kept.Reading.Wait()
	})
}

// A token is inspected against the project of the caller.
func TestInspectionKeepsToTheProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		e := apptest.Get("/rtm/ana")
		var got struct{ RTMToken string }
		if err := json.Unmarshal([]byte(g.Enter(e, apptest.FirstTenant.Pass(nil)).Body), &got); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			who  *apptest.Tenant
			good bool
		}{{&apptest.FirstTenant, true}, {&apptest.SecondTenant, false}} {
			e := apptest.Post("/v1/tokens/inspect", `{"token":"`+got.RTMToken+`","account":"ana"}`)
			a := g.Enter(e, c.who.Pass(nil))
			if a.Status != http.StatusOK || strings.Contains(a.Body, `"severity":"error"`) == c.good {
				t.Errorf("as %s: %d %s", c.who.App, a.Status, a.Body)
			}
			if strings.Contains(a.Body, apptest.Certificate) || strings.Contains(a.Body, apptest.OtherCertificate) {
				t.Errorf("shows a certificate: %s", a.Body)
			}
		}
	})
}

// Contradictory settings of several projects are refused, and the error contains no secret.
func TestRefusedProjects(t *testing.T) {
	for want, change := range map[string]func(*app.Config){
		"session-secret: is missing": func(c *app.Config) { c.SessionSecret = "" },
		"session-secret: want":       func(c *app.Config) { c.SessionSecret = "too short" },
		"app-id: " + apptest.AppID:   func(c *app.Config) { c.Projects[1].AppID = apptest.AppID },
		"app-id: ":                   func(c *app.Config) { c.Projects[1].AppID = "x" },
		"app-certificate: ":          func(c *app.Config) { c.Projects[1].Certificates = nil },
		"app-certificate":            func(c *app.Config) { c.Projects[1].Certificates = []string{"not hexadecimal"} },
		"jwt-secret: is missing":     func(c *app.Config) { c.Projects[1].Keys.Secrets = nil },
		"jwt-secret: has 19 bytes":   func(c *app.Config) { c.Projects[1].Keys.Secrets = []string{"too short, this one"} },
		"jwt-secret: want": func(c *app.Config) {
			c.Projects[1].Keys.Secrets = []string{apptest.OtherSecret, apptest.OtherSecret, apptest.OtherSecret}
		},
		"jwt-public-key-file: ": func(c *app.Config) { c.Projects[1].Keys.PublicKeyPEMs = []string{apptest.OtherSecret} },
		"jwks-url: ": func(c *app.Config) {
			c.Projects[1].Keys.JWKSURL = "http://ana:" + apptest.OtherSecret + "@example.com/"
		},
		"auth: none does": func(c *app.Config) { c.Auth = "none" },
	} {
		c := apptest.Config()
		apptest.TwoProjects(&c)
		change(&c)
		_, err := app.New(c, apptest.Quiet)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
			continue
		}
		for _, secret := range []string{
			apptest.Certificate, apptest.OtherCertificate, apptest.JWTSecret, apptest.OtherSecret, "not hexadecimal", "too short", "seals the keys",
		} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s quotes a secret: %v", want, err)
			}
		}
	}
}

// When the projects file changes, a changed certificate replaces the old one during live calls, and the log
// names the projects that were added or removed.
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
			time.Sleep(6 * time.Second) // bubble: the files are checked every 5 s
		}
		config := apptest.Config()
		apptest.TwoProjects(&config)
		change(config.Projects...)
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Heartbeat, c.Policy.CertificateSpread = time.Hour, time.Minute
			c.ProjectsFile, c.ReadProjects = file, func() ([]project.Project, error) {
				mu.Lock()
				defer mu.Unlock()
				return read, broken
			}
		})
		h := apptest.FirstTenant.Open(g, nil)
		theirs := apptest.SecondTenant.Open(g, nil)
		first, second := config.Projects[0], config.Projects[1]

		first.Certificates = []string{apptest.NewCertificate, apptest.Certificate}
		change(first, second)
		time.Sleep(time.Minute) // bubble
		h.SignedBy(apptest.NewCertificate)
		if newest, _, _, _ := theirs.State(); newest.Seq != 1 {
			t.Errorf("the other project's call: seq %d", newest.Seq)
		}
		if log := g.Log.Take(); strings.Count(log, "another certificate from now on") != 1 || strings.Contains(log, apptest.NewCertificate) {
			t.Errorf("the log: %s", log)
		}

		// An invalid file changes nothing, and is tried again.
		first.Certificates = []string{apptest.ThirdCertificate}
		short := second
		short.Keys.Secrets = []string{"short"}
		change(first, short)
		time.Sleep(time.Minute) // bubble
		h.SignedBy(apptest.NewCertificate)
		change(first, first)
		time.Sleep(time.Minute) // bubble
		h.SignedBy(apptest.NewCertificate)
		missing := errors.New("a file that it names is not there")
		breaks(missing)
		change(first, second)
		time.Sleep(time.Minute) // bubble
		h.SignedBy(apptest.NewCertificate)
		log := g.Log.Take()
		for _, want := range []string{"jwt-secret: has 5 bytes; want at least 32", "is there twice", missing.Error()} {
			if strings.Count(log, want) != 1 {
				t.Errorf("not logged once, %q: %s", want, log)
			}
		}
		breaks(nil)
		time.Sleep(time.Minute + 6*time.Second) // bubble
		h.SignedBy(apptest.ThirdCertificate)

		g.Log.Take()
		first.Keys.JWKSURL = "https://login.example.com/keys"
		change(first, project.Project{AppID: strings.Repeat("a", 32), Certificates: []string{apptest.OtherCertificate}, Keys: second.Keys})
		log = g.Log.Take()
		for _, want := range []string{
			"a project was added to the projects file; it is served after a restart\" app_id=" + strings.Repeat("a", 32),
			"a project is gone from the projects file; it is served until a restart\" app_id=" + apptest.OtherAppID,
			"jwksUrl of a project has changed; its key set stays until a restart\" app_id=" + apptest.AppID,
		} {
			if !strings.Contains(log, want) {
				t.Errorf("no %q in the log: %s", want, log)
			}
		}
		theirs.Socket.Send(`{"type":"renew"}`)
		synctest.Wait()
		if newest, _, ended, _ := theirs.State(); newest.Seq != 2 || ended != "" {
			t.Errorf("the call of the project that is gone: seq %d, ended %q", newest.Seq, ended)
		}
		h.Leave()
		theirs.Leave()
	})
}

// When a project is removed from the projects file, its other files may be removed too, without an error.
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
		write(certificate, apptest.OtherCertificate)
		write(secret, apptest.OtherSecret)
		var gone atomic.Bool
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
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
		theirs := apptest.SecondTenant.Open(g, nil)
		gone.Store(true)
		write(file, "the first")
		if err := errors.Join(os.Remove(certificate), os.Remove(secret)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second) // bubble
		if log := g.Log.Take(); !strings.Contains(log, "a project is gone") || strings.Contains(log, "can't be used") {
			t.Errorf("the log: %s", log)
		}
		theirs.Socket.Send(`{"type":"renew"}`)
		synctest.Wait()
		if newest, _, ended, _ := theirs.State(); newest.Seq != 2 || ended != "" {
			t.Errorf("the call of the project that is gone: seq %d, ended %q", newest.Seq, ended)
		}
		theirs.Leave()
	})
}
