package project_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// A node does not know the sessions of a project that it does not serve, though it can decrypt the resume keys of these
// sessions.
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

func two() project.Settings {
	return project.Settings{SessionSecret: "seals the keys of both projects", PreviousSessionSecret: "sealed the keys of both projects", Projects: []project.Project{
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

// Resume keys are encrypted with the session secret, or if there is none, with a secret derived from the certificate.
func TestSecretsOfResumeKeys(t *testing.T) {
	one := func(secret, previous string, certificates ...string) *session.Sealer {
		s, err := newSet(project.Settings{
			SessionSecret: secret, PreviousSessionSecret: previous, Projects: []project.Project{{AppID: first, Certificates: certificates}},
		}, new(bytes.Buffer))
		if err != nil {
			t.Fatal(err)
		}
		return s.Sealer()
	}
	const newer, older, a, b = "the session secret from today on", "the session secret of yesterday", apptest.Certificate, apptest.NewCertificate
	for name, c := range map[string]struct {
		sealed, opens *session.Sealer
		want          bool
	}{
		"same secret":          {one(older, "", a), one(older, "", b), true},
		"previous secret":      {one(older, "", a), one(newer, older, a), true},
		"another secret":       {one(older, "", a), one(newer, "", a), false},
		"same certificate":     {one("", "", a), one("", "", a), true},
		"previous certificate": {one("", "", a), one("", "", b, a), true},
		"another certificate":  {one("", "", a), one("", "", b), false},
	} {
		sealed, err := c.sealed.SealCursor(first, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.opens.OpenCursor(first, sealed); ok != c.want {
			t.Errorf("%s: opens %t", name, ok)
		}
	}
}

// Tokens are minted, inspected and counted for the given project.
func TestTokensOfAProject(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := project.New(project.Config{Settings: two(), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	now := session.SecOf(time.Now())
	rtc, rtm, chat := session.RTC{Channel: "c", UID: 7}, session.RTM{UserID: "ana"}, session.Chat{UserID: "ana"}
	tokens, err1 := s.Mint(first, session.Identity{RTC: &rtc, RTM: &rtm, Chat: &chat}, session.Format006, "join", now, now+60)
	_, err2 := s.Mint(first, session.Identity{RTC: &rtc, RTM: &rtm}, session.FormatSingle, "join", now, now+60)
	_, err3 := s.MintStream(first, rtc, rtm, "join", now, now+60)
	_, err4 := s.MintChatApp(first, "join", now, now+60)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for app, good := range map[string]bool{first: true, second: false} {
		if err := s.Inspect(tokens.Chat, agora.Use{AppID: app}).Err(); (err == nil) != good {
			t.Errorf("in project %s: %v", app, err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := make(map[string]float64)
	for _, m := range families[0].GetMetric() { // the labels are sorted by name: cause, service, version
		counted[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[2].GetValue()] = m.GetCounter().GetValue()
	}
	if want := map[string]float64{"chat 007": 2, "rtc 006": 1, "rtc+rtm 007": 2, "rtm 006": 1}; !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}

	const none = "ffffffffffffffffffffffffffffffff"
	_, err1 = s.Mint(none, session.Identity{}, session.Format007, "join", now, now+60)
	_, err2 = s.MintStream(none, rtc, rtm, "join", now, now+60)
	_, err3 = s.MintChatApp(none, "join", now, now+60)
	if err1 == nil || err2 == nil || err3 == nil || s.Serves(none) || s.Certificate(none) != 0 {
		t.Error("a project that is not served has tokens")
	}
}

// follower has a Set that follows the projects file and the files of the second project. The field `read` is the
// content of the projects file. Reading that file fails with the error `broken`, and replacing the keys for credentials
// fails with the error `refuse`, unless these are nil.
type follower struct {
	t       *testing.T
	set     *project.Set
	folder  string
	log     bytes.Buffer
	read    []project.Project
	broken  error
	refuse  error
	changed []string
	keys    []credential.Project
}

// follow starts a follower, which runs until the test ends.
func follow(t *testing.T) *follower {
	t.Helper()
	f := &follower{t: t, folder: t.TempDir()}
	f.write("projects", "first")
	f.write("certificate", apptest.OtherCertificate)
	f.write("key", apptest.OtherSecret)
	settings := two()
	p := &settings.Projects[1]
	p.CertificateFile, p.KeyFiles = filepath.Join(f.folder, "certificate"), []string{filepath.Join(f.folder, "key")}
	p.ReadKeys = func() (credential.Keys, error) { return credential.Keys{Secrets: []string{"newer"}}, nil }
	settings.ProjectsFile, settings.ReadProjects = filepath.Join(f.folder, "projects"), func() ([]project.Project, error) { return f.read, f.broken }
	f.read = slices.Clone(settings.Projects)
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
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return f
}

// write writes a file, and waits until it is read.
func (f *follower) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.folder, file), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // bubble: the files are checked every 5 s
	synctest.Wait()
}

// change writes these projects into the projects file.
func (f *follower) change(projects ...project.Project) {
	f.t.Helper()
	f.read = projects
	f.write("projects", time.Now().String())
}

func (f *follower) signs(app, certificate string) {
	f.t.Helper()
	if got := f.set.Certificate(app); got != agora.Fingerprint(certificate) {
		f.t.Errorf("signed with %s, want %s", got, agora.Fingerprint(certificate))
	}
}

func (f *follower) logged(want string) {
	f.t.Helper()
	if strings.Count(f.log.String(), want) != 1 || strings.Contains(f.log.String(), apptest.NewCertificate) {
		f.t.Errorf("want %q once in the log, and no certificate: %s", want, f.log.String())
	}
}

func TestFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		one, other := f.read[0], f.read[1]
		one.Certificates = []string{apptest.NewCertificate, apptest.Certificate}
		f.change(one, other)
		f.signs(first, apptest.NewCertificate)
		f.logged("certificate rotation started")
		f.write("key", "newer")
		if want := []string{first}; !slices.Equal(f.changed, want) || len(f.set.Fingerprints()[first]) != 2 || f.keys[0].Keys.Secrets[0] != "newer" {
			t.Errorf("changed: %q, want %q; keys %+v", f.changed, want, f.keys)
		}
		f.write("certificate", apptest.ThirdCertificate)
		f.signs(second, apptest.ThirdCertificate)
		f.write("certificate", "nonsense")
		f.signs(second, apptest.ThirdCertificate)

		// If one part of the projects file is invalid, no part of it is applied.
		one.Certificates = []string{apptest.ThirdCertificate}
		f.refuse = errors.New("a key is too short")
		f.change(one, other)
		f.refuse = nil
		f.change(one, one)
		f.broken = errors.New("a file that it names is not there")
		f.change(one, other)
		for _, problem := range []string{"a key is too short", "is given twice", "a file that it names is not there"} {
			f.logged(problem)
		}
		f.signs(first, apptest.NewCertificate)
		f.broken = nil
		f.change(one, other)
		f.signs(first, apptest.ThirdCertificate)

		added := strings.Repeat("a", 32)
		one.Keys.JWKSURL = "https://login.example.com/keys"
		f.change(one, project.Project{AppID: added, Certificates: []string{apptest.OtherCertificate}, Keys: other.Keys})
		f.logged(`a project was added to the projects file; it is served after a restart" app_id=` + added)
		f.logged(`a project was removed from the projects file; it is served until a restart" app_id=` + second)
		f.logged(`jwksUrl of a project has changed; the old key set is used until a restart" app_id=` + first)
		if !f.set.Serves(second) || f.set.Serves(added) || len(f.keys) != 1 {
			t.Error("projects were added or removed without a restart")
		}
		// The second project is gone from the projects file, so its other files may be removed without an error in the
		// log.
		f.log.Reset()
		if err := errors.Join(os.Remove(filepath.Join(f.folder, "certificate")), os.Remove(filepath.Join(f.folder, "key"))); err != nil {
			t.Fatal(err)
		}
		f.change(one)
		if strings.Contains(f.log.String(), "cannot be used") {
			t.Errorf("the log: %s", f.log.String())
		}
	})
}
