package project_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/files"
	"refresher/internal/project"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// A node does not know the sessions of a project that it does not serve, though it can open their resume
// keys.
func TestProjectThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		h, kept := apptest.SecondTenant.Open(g, nil), apptest.FirstTenant.Open(g, nil)
		_, joined, _, _ := h.State()
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
			t.Errorf("a resume: closed with %d", closed)
		}
		if !kept.Back() {
			t.Error("a session of the other project was not resumed")
		}
		_ = kept.Socket.CloseNow()
		kept.Reading.Wait()
	})
}

const first, second = apptest.AppID, apptest.OtherAppID

// two returns the settings of two projects.
func two() project.Settings {
	return project.Settings{SessionSecret: "seals the keys of both projects", Projects: []project.Project{
		{AppID: first, Certificates: []string{apptest.Certificate}, Keys: credential.Keys{Secrets: []string{apptest.JWTSecret}}},
		{AppID: second, Certificates: []string{apptest.OtherCertificate}, Keys: credential.Keys{Secrets: []string{apptest.OtherSecret}}},
	}}
}

func newSet(s project.Settings, log *bytes.Buffer) (*project.Set, error) {
	return project.New(project.Config{Settings: s, Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry()})
}

func TestRefusedProjects(t *testing.T) {
	for want, change := range map[string]func(*project.Settings){
		"session-secret: is missing":   func(s *project.Settings) { s.SessionSecret = "" },
		"session-secret: want":         func(s *project.Settings) { s.SessionSecret = "too short" },
		"app-id: is missing":           func(s *project.Settings) { s.Projects = nil },
		"app-id: " + first + " is ":    func(s *project.Settings) { s.Projects[1].AppID = first },
		"app-id: 1 character":          func(s *project.Settings) { s.Projects[1].AppID = "x" },
		"app-certificate: is missing":  func(s *project.Settings) { s.Projects[1].Certificates = nil },
		"app-certificate: 15 characte": func(s *project.Settings) { s.Projects[1].Certificates[0] = "not hexadecimal" },
	} {
		s := two()
		change(&s)
		_, err := newSet(s, new(bytes.Buffer))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "not hexadecimal") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Tokens are minted and inspected with the certificate of the given project.
func TestTokensOfAProject(t *testing.T) {
	s, err := newSet(two(), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	now := session.SecOf(time.Now())
	tokens, err := s.Mint(first, session.Identity{RTM: &session.RTM{UserID: "ana"}}, session.Format007, "join", now, now+60)
	if err != nil {
		t.Fatal(err)
	}
	for app, good := range map[string]bool{first: true, second: false} {
		if err := s.Inspect(tokens.RTM, agora.Use{AppID: app}).Err(); (err == nil) != good {
			t.Errorf("in project %s: %v", app, err)
		}
	}
	const none = "ffffffffffffffffffffffffffffffff"
	_, err1 := s.Mint(none, session.Identity{}, session.Format007, "join", now, now+60)
	_, err2 := s.MintStream(none, session.RTC{}, session.RTM{}, "join", now, now+60)
	_, err3 := s.MintChatApp(none, "join", now, now+60)
	if err1 == nil || err2 == nil || err3 == nil || s.Serves(none) || s.Certificate(none) != 0 {
		t.Error("a project that is not served has tokens")
	}
}

// follower follows the files of two projects.
type follower struct {
	t       *testing.T
	set     *project.Set
	file    string // the projects file
	read    []project.Project
	broken  error
	log     bytes.Buffer
	changed []string             // the projects whose certificate has changed
	keys    []credential.Project // the last keys that were taken
	refuse  error
}

// follow runs in a synctest bubble until the test ends.
func follow(t *testing.T, change func(*project.Settings)) *follower {
	t.Helper()
	f := &follower{t: t, file: filepath.Join(t.TempDir(), "projects.yaml")}
	settings := two()
	settings.ProjectsFile, settings.ReadProjects = f.file, func() ([]project.Project, error) { return f.read, f.broken }
	if change != nil {
		change(&settings)
	}
	f.read = slices.Clone(settings.Projects)
	f.write(f.file, "first")
	var err error
	if f.set, err = newSet(settings, &f.log); err != nil {
		t.Fatal(err)
	}
	w := files.New(slog.New(slog.NewTextHandler(&f.log, nil)), prometheus.NewRegistry())
	err = f.set.Follow(w, func(keys ...credential.Project) error {
		if f.refuse == nil {
			f.keys = keys
		}
		return f.refuse
	}, func(app string, _ session.Fingerprint) { f.changed = append(f.changed, app) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return f
}

func (f *follower) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// change makes these the projects in the file, and waits until the file is read.
func (f *follower) change(projects ...project.Project) {
	f.t.Helper()
	f.read = projects
	f.write(f.file, time.Now().String())
	time.Sleep(6 * time.Second) // bubble: the files are checked every 5 s
	synctest.Wait()
}

// signs checks the certificate of the first project.
func (f *follower) signs(certificate string) {
	f.t.Helper()
	if got := f.set.Certificate(first); got != agora.Fingerprint(certificate) {
		f.t.Errorf("signed with %s, want %s", got, agora.Fingerprint(certificate))
	}
}

func (f *follower) logged(want string) {
	f.t.Helper()
	if strings.Count(f.log.String(), want) != 1 || strings.Contains(f.log.String(), apptest.NewCertificate) {
		f.t.Errorf("want %q once in the log, and no certificate: %s", want, f.log.String())
	}
}

func TestProjectsFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, nil)
		one, other := f.read[0], f.read[1]
		one.Certificates = []string{apptest.NewCertificate, apptest.Certificate}
		f.change(one, other)
		f.signs(apptest.NewCertificate)
		f.logged("another certificate from now on")
		if want := []string{first}; !slices.Equal(f.changed, want) || len(f.set.Fingerprints()[first]) != 2 {
			t.Errorf("changed: %q, want %q", f.changed, want)
		}

		// A change that cannot be applied as a whole changes nothing.
		one.Certificates = []string{apptest.ThirdCertificate}
		f.refuse = errors.New("a key is too short")
		f.change(one, other)
		f.logged("a key is too short")
		f.refuse = nil
		f.change(one, one)
		f.logged("is there twice")
		f.broken = errors.New("a file that it names is not there")
		f.change(one, other)
		f.logged("a file that it names is not there")
		f.signs(apptest.NewCertificate)
		f.broken = nil
		f.change(one, other)
		f.signs(apptest.ThirdCertificate)

		added := strings.Repeat("a", 32)
		one.Keys.JWKSURL = "https://login.example.com/keys"
		f.change(one, project.Project{AppID: added, Certificates: []string{apptest.OtherCertificate}, Keys: other.Keys})
		f.logged(`a project was added to the projects file; it is served after a restart" app_id=` + added)
		f.logged(`a project is gone from the projects file; it is served until a restart" app_id=` + second)
		f.logged(`jwksUrl of a project has changed; its key set stays until a restart" app_id=` + first)
		if !f.set.Serves(second) || f.set.Serves(added) || len(f.keys) != 1 {
			t.Error("projects were added or removed without a restart")
		}
	})
}

func TestFilesOfAProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		certificate, key := filepath.Join(folder, "certificate"), filepath.Join(folder, "key")
		newer := credential.Keys{Secrets: []string{"the newest secret, of 32 bytes or more"}}
		f := &follower{t: t}
		f.write(certificate, apptest.Certificate)
		f.write(key, "the first")
		var unreadable error
		f = follow(t, func(s *project.Settings) {
			p := &s.Projects[0]
			p.CertificateFile, p.KeyFiles = certificate, []string{key}
			p.ReadKeys = func() (credential.Keys, error) { return newer, unreadable }
			s.Projects = s.Projects[:1]
			s.SessionSecret, s.PreviousSessionSecret = "", "an earlier secret of the keys"
		})
		f.write(certificate, apptest.NewCertificate)
		f.write(key, "the second")
		f.change(f.read...)
		f.signs(apptest.NewCertificate)
		if len(f.keys) != 1 || !slices.Equal(f.keys[0].Keys.Secrets, newer.Secrets) {
			t.Errorf("keys %+v", f.keys)
		}
		f.write(certificate, "nonsense")
		unreadable = errors.New("the key is unreadable")
		f.write(key, "the third")
		f.change(f.read...)
		f.logged("the key is unreadable")

		// The files of a project that is gone may be removed.
		f.change()
		f.log.Reset()
		if err := errors.Join(os.Remove(certificate), os.Remove(key)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // bubble
		if f.log.Len() > 0 {
			t.Errorf("the log: %s", f.log.String())
		}
	})
}
