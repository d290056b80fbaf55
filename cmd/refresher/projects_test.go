package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refresher/internal/access/credential"
	"refresher/internal/project"
)

const (
	otherAppID       = "01234567890123456789012345678901" // YAML may parse this App ID as a number
	otherCertificate = "fedcba9876543210fedcba9876543210"
	firstSecret      = "hush-hush, of the first project, 32 bytes"
	otherSecret      = "hush-hush, of the other project, 32 bytes"
)

// write writes a file into a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// publicKey is an Ed25519 public key; its private key does not exist any more.
const publicKey = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAxH3FnLj4IWnOeT4wVVwMvNCRaS5pJXtN5/qAdh+6XWQ=\n-----END PUBLIC KEY-----\n"

func TestProjectsFile(t *testing.T) {
	dir := t.TempDir()
	certificateFile := write(t, dir, "certificate", certificate+"\n"+otherCertificate+"\n")
	secretFile := write(t, dir, "secret", firstSecret+"\n")
	keyFile := write(t, dir, "key.pem", publicKey)
	file := write(t, dir, "projects.yaml", fmt.Sprintf(`
# One with its secrets in files of their own, one with them here.
projects:
  - appId: %s
    appCertificateFile: %s
    jwtSecretFile: %s
    jwtPreviousSecret: %q
    jwtAudience: calls
    jwtIssuer: login
  - {appId: %s, appCertificate: %s, jwtSecret: %q, jwtPublicKeyFile: %s, jwksUrl: "https://example.com/jwks"}
`, appID, certificateFile, secretFile, otherSecret, otherAppID, otherCertificate, otherSecret, keyFile))
	got, err := readProjects(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []project.Project{
		{
			AppID: appID, Certificates: []string{certificate, otherCertificate}, CertificateFile: certificateFile,
			Keys: credential.Keys{Secrets: []string{firstSecret, otherSecret}}, Audience: "calls", Issuer: "login",
		},
		{
			AppID: otherAppID, Certificates: []string{otherCertificate},
			Keys: credential.Keys{
				Secrets: []string{otherSecret}, PublicKeyPEMs: []string{publicKey}, JWKSURL: "https://example.com/jwks",
			},
		},
	}
	want[0].KeyFiles, want[1].KeyFiles = []string{secretFile}, []string{keyFile}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(project.Project{}, "ReadKeys")); diff != "" {
		t.Error(diff)
	}
}

func TestBadProjectsFiles(t *testing.T) {
	dir := t.TempDir()
	secretFile := write(t, dir, "secret", firstSecret)
	emptyFile := write(t, dir, "empty", "")
	nine := write(t, dir, "nine", strings.Repeat(certificate+"\n", 9))
	good := fmt.Sprintf("appId: %s, appCertificate: %s, jwtSecret: %q", appID, certificate, firstSecret)
	id := "appId: " + appID + ", "
	both := id + "appCertificate: " + certificate + ", "
	with := func(fields string) string { return "projects: [{" + fields + "}]\n" }
	for name, c := range map[string]struct{ text, want string }{
		"empty":                      {"", "is empty; want projects: [{"},
		"no YAML":                    {"projects: [{" + good, "is not YAML (line 1)"},
		"a list":                     {"- {" + good + "}", "want an object with the fields projects; have a list of 1"},
		"no projects":                {"projects: []", "projects: want a list of 1 to 1000 projects; have a list of 0"},
		"projects: a text":           {"projects: " + firstSecret, "projects: want a list of 1 to 1000 projects; have a text"},
		"an unknown field":           {with(good + ", jwtsecret: " + firstSecret), "projects[0]: the field in line 1 is unknown; did you mean jwtSecret?"},
		"an unknown field outside":   {with(good) + "jwtSecret: " + firstSecret, "the field in line 2 is unknown; want projects"},
		"a field twice":              {with(good + fmt.Sprintf(", jwtSecret: %q", otherSecret)), "projects[0].jwtSecret: is there twice"},
		"a list for a text":          {with(good + ", jwtAudience: [" + firstSecret + "]"), "projects[0].jwtAudience: want a text; have a list of"},
		"more than one document":     {with(good) + "---\n" + with(good), "has more than one YAML document"},
		"too many":                   {"projects: [" + strings.Repeat("{"+good+"},", 1001) + "]", "projects: want a list of 1 to 1000 projects; have a list of 1001"},
		"no app id":                  {with("appCertificate: " + certificate + ", jwtSecret: x"), "projects[0].appId is missing"},
		"no certificate":             {with("appId: " + appID + ", jwtSecret: x"), "projects[0].appCertificate is missing"},
		"no keys":                    {with("appId: " + appID + ", appCertificate: " + certificate), "projects[0] has no keys"},
		"an audience, but no keys":   {with("appId: " + appID + ", appCertificate: " + certificate + ", jwtAudience: x"), "projects[0] has no keys"},
		"the second has no keys":     {"projects: [{" + good + "}, {appId: " + otherAppID + ", appCertificate: " + otherCertificate + "}]", "projects[1] has no keys"},
		"two certificates":           {with(good + ", appCertificateFile: " + secretFile), "projects[0].appCertificate and projects[0].appCertificateFile are both set"},
		"two secrets":                {with(good + ", jwtSecretFile: " + secretFile), "projects[0].jwtSecret and projects[0].jwtSecretFile are both set"},
		"a certificate not there":    {with(id + "jwtSecret: x, appCertificateFile: /nowhere/certificate"), "projects[0].appCertificateFile: open /nowhere/certificate"},
		"a certificate file empty":   {with(id + "jwtSecret: x, appCertificateFile: " + emptyFile), "projects[0].appCertificateFile: " + emptyFile + ": is empty"},
		"too many certificates":      {with(id + "jwtSecret: x, appCertificateFile: " + nine), "projects[0].appCertificateFile: " + nine + ": has 9 words"},
		"a secret file not there":    {with(both + "jwtSecretFile: /nowhere/secret"), "projects[0].jwtSecretFile: open /nowhere/secret"},
		"a secret file empty":        {with(both + "jwtSecretFile: " + emptyFile), "projects[0].jwtSecretFile: " + emptyFile + ": is empty"},
		"a public key not there":     {with(both + "jwtPublicKeyFile: /nowhere/key"), "projects[0].jwtPublicKeyFile: open /nowhere/key"},
		"the same project twice":     {"projects: [{" + good + "}, {" + good + "}]", "projects[1].appId: is the same as projects[0].appId"},
		"a short secret":             {with(both + "jwtSecret: hush-hush"), "projects[0].jwtSecret: has 9 bytes; want at least 32"},
		"a wrong certificate":        {with(id + "appCertificate: hush-hush"), "projects[0].appCertificate: 9 characters long"},
		"a wrong app id":             {with("appId: xyz"), "projects[0].appId: 3 characters long"},
		"an anchor without an end":   {"projects: &a [*a]", "projects[0]: want an object with the fields appId, "},
		"a tag of somebody's making": {"projects: [!secret {" + good + "}]\nx: !!binary " + firstSecret, "the field in line 2 is unknown; want projects"},
	} {
		_, err := readProjects(write(t, dir, "projects.yaml", c.text))
		if err == nil || !strings.HasPrefix(err.Error(), "--projects-file: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		for _, secret := range []string{certificate, otherCertificate, "hush-hush"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: quotes a secret: %v", name, err)
			}
		}
	}
	if _, err := readProjects(filepath.Join(dir, "nowhere")); err == nil || !strings.HasPrefix(err.Error(), "--projects-file: open ") {
		t.Errorf("no file: %v", err)
	}
	if _, err := readProjects(write(t, dir, "projects.yaml", with(good))); err != nil {
		t.Errorf("the good one that they are made of: %v", err)
	}
}

// If projects contradict each other, the error names the setting and contains no secret.
func TestServeRefusesProjects(t *testing.T) {
	dir := t.TempDir()
	project := func(id, certificate, secret string) string {
		return fmt.Sprintf("  - {appId: %s, appCertificate: %s, jwtSecret: %q}\n", id, certificate, secret)
	}
	one, other := project(appID, certificate, firstSecret), project(otherAppID, otherCertificate, otherSecret)
	sealed := "REFRESHER_SESSION_SECRET=hush-hush, it seals keys"
	for name, c := range map[string]struct {
		text string
		env  []string
		want string
	}{
		"no session secret":           {one + other, nil, "REFRESHER_SESSION_SECRET): is missing"},
		"a single project, too":       {one, credentialsEnv, "want one"},
		"keys of a single one, too":   {one, []string{"REFRESHER_JWT_SECRET=" + firstSecret}, "want one"},
		"an issuer of one, too":       {one, []string{"REFRESHER_JWT_ISSUER=login"}, "want one"},
		"an audience of one, too":     {one, []string{"REFRESHER_JWT_AUDIENCE=calls"}, "want one"},
		"several without credentials": {one + other, []string{sealed, "REFRESHER_AUTH=none"}, "REFRESHER_AUTH: none does for one project"},
	} {
		file := write(t, dir, "projects.yaml", "projects:\n"+c.text)
		stdout, stderr, code := run(t, c.env, "serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--projects-file="+file)
		if code == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, said %q; want %q", name, code, stderr, c.want)
		}
		if said := stdout + stderr; strings.Contains(said, "hush-hush") || strings.Contains(said, certificate) || strings.Contains(said, otherCertificate) {
			t.Errorf("%s: a secret was shown: %s", name, said)
		}
	}
}

// get sends a GET request with a credential.
func (s *service) get(path, credential string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+credential)
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// grantBy makes a credential by `refresher token grant`.
func grantBy(t *testing.T, env []string, args ...string) string {
	t.Helper()
	stdout, stderr, code := run(t, env, append([]string{"token", "grant"}, args...)...)
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// A service with two projects reads both from the file and mints tokens of both.
func TestServeTwoProjects(t *testing.T) {
	c := command(t, []string{"REFRESHER_SESSION_SECRET=hush-hush, it seals keys"}, "serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0",
		"--projects-file=projects.yaml")
	write(t, c.Dir, "certificate", certificate+"\n")
	write(t, c.Dir, "secret", firstSecret+"\n")
	write(t, c.Dir, "projects.yaml", fmt.Sprintf(`projects:
  - {appId: %s, appCertificateFile: certificate, jwtSecretFile: secret}
  - {appId: %s, appCertificate: %s, jwtSecret: %q, jwtAudience: calls, jwtIssuer: login}
`, appID, otherAppID, otherCertificate, otherSecret))
	s := serve(t, c)
	for _, p := range []struct {
		app, certificate string
		env              []string
	}{
		{appID, certificate, []string{"REFRESHER_JWT_SECRET=" + firstSecret}},
		{otherAppID, otherCertificate, []string{"REFRESHER_JWT_SECRET=" + otherSecret, "REFRESHER_JWT_AUDIENCE=calls", "REFRESHER_JWT_ISSUER=login"}},
	} {
		status, text := s.get("/rtm/ana", grantBy(t, p.env, "--app-id="+p.app, "--rtm-users=ana"))
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		token := strings.Split(text, `"`)[3]
		said, stderr, code := run(t, []string{"APP_ID=" + p.app, "APP_CERTIFICATE=" + p.certificate}, "token", "inspect", token)
		if code != 0 || !strings.Contains(said, "signature  good") {
			t.Errorf("its token: exit %d: %s%s", code, said, stderr)
		}
		env := append([]string{"REFRESHER_API_URL=http://" + s.addr, "REFRESHER_CREDENTIAL=" + grantBy(t, p.env, "--app-id="+p.app, "--admin")}, p.env...)
		if stdout, stderr, code := run(t, env, "sessions", "list"); code != 0 || !strings.HasPrefix(stdout, "SESSION") {
			t.Errorf("sessions list: exit %d: %s%s", code, stdout, stderr)
		}
	}
	// With several projects, a credential must name its project.
	if status, _ := s.get("/rtm/ana", grantBy(t, []string{"REFRESHER_JWT_SECRET=" + firstSecret}, "--rtm-users=ana")); status != http.StatusUnauthorized {
		t.Errorf("without a project: %d", status)
	}
	if rest := s.stop(syscall.SIGTERM); strings.Contains(rest, "hush-hush") || strings.Contains(rest, certificate) {
		t.Errorf("the log shows a secret: %s", rest)
	}
}

// rewrite replaces the projects file in one step, makes the service read it, and returns the log line about it that
// contains the text `want`.
func (s *service) rewrite(dir, text, want string) string {
	s.t.Helper()
	write(s.t, dir, "next.yaml", text)
	if err := os.Rename(filepath.Join(dir, "next.yaml"), filepath.Join(dir, "projects.yaml")); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	return s.find(`(.*` + want + `.*projects\.yaml.*)`)
}

// signs checks that the service signs a project's tokens with a certificate, or refuses the credential if the parameter
// `certificate` is empty.
func (s *service) signs(app, certificate string, env []string) {
	s.t.Helper()
	status, text := s.get("/rtm/ana", grantBy(s.t, env, "--app-id="+app, "--rtm-users=ana"))
	if certificate == "" {
		if status != http.StatusUnauthorized {
			s.t.Errorf("%s: %d %s", app, status, text)
		}
		return
	}
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", app, status, text)
	}
	said, stderr, code := run(s.t, []string{"APP_ID=" + app, "APP_CERTIFICATE=" + certificate}, "token", "inspect", strings.Split(text, `"`)[3])
	if code != 0 || !strings.Contains(said, "signature  good") {
		s.t.Errorf("%s: not signed with %s: %s%s", app, certificate[:4], said, stderr)
	}
}

// When the projects file changes, its certificates and keys are read again, as are files that it names for
// the first time. Invalid settings change nothing.
func TestServeFollowsTheProjectsFile(t *testing.T) {
	const third, fourth = "00000000000000000000000000000003", "00000000000000000000000000000004"
	c := command(t, []string{"REFRESHER_SESSION_SECRET=hush-hush, it seals keys"}, "serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0",
		"--projects-file=projects.yaml")
	dir := c.Dir
	write(t, dir, "certificate", otherCertificate+"\n")
	write(t, dir, "secret", otherSecret+"\n")
	one := fmt.Sprintf("  - {appId: %s, appCertificate: %s, jwtSecret: %q}\n", appID, certificate, firstSecret)
	other := fmt.Sprintf("  - {appId: %s, appCertificateFile: certificate, jwtSecretFile: secret}\n", otherAppID)
	write(t, dir, "projects.yaml", "projects:\n"+one+other)
	s := serve(t, c)
	first, second := []string{"REFRESHER_JWT_SECRET=" + firstSecret}, []string{"REFRESHER_JWT_SECRET=" + otherSecret}
	s.signs(appID, certificate, first)
	s.signs(otherAppID, otherCertificate, second)

	const changed, newSecret = "file has changed and was read again", "hush-hush, a new one of 32 bytes and more"
	write(t, dir, "certificate2", fourth+"\n"+otherCertificate+"\n")
	write(t, dir, "secret2", newSecret+"\n")
	good := "projects:\n" +
		fmt.Sprintf("  - {appId: %s, appCertificate: %s %s, jwtSecret: %q, jwtPreviousSecret: %q}\n", appID, third, certificate, otherSecret, firstSecret) +
		fmt.Sprintf("  - {appId: %s, appCertificateFile: certificate2, jwtSecretFile: secret2, jwtIssuer: login}\n", otherAppID)
	s.rewrite(dir, good, changed)
	s.signs(appID, third, first)
	s.signs(appID, third, second)
	s.signs(otherAppID, "", second)
	s.signs(otherAppID, "", []string{"REFRESHER_JWT_SECRET=" + newSecret})
	s.signs(otherAppID, fourth, []string{"REFRESHER_JWT_SECRET=" + newSecret, "REFRESHER_JWT_ISSUER=login"})

	// Files that the new projects file names are followed.
	write(t, dir, "certificate2", otherCertificate+"\n"+fourth+"\n")
	s.rewrite(dir, good+"# the same\n", changed)
	s.signs(otherAppID, otherCertificate, []string{"REFRESHER_JWT_SECRET=" + newSecret, "REFRESHER_JWT_ISSUER=login"})

	const refused = "file can't be used"
	for name, text := range map[string]string{
		"no YAML":               "projects: [",
		"one certificate twice": strings.Replace(good, third+" "+certificate, certificate+" "+certificate, 1),
		"a project twice":       good + one,
		"no such file":          strings.Replace(good, "secret2", "secret3", 1),
	} {
		said := s.rewrite(dir, text, refused)
		if strings.Contains(said, "hush-hush") || strings.Contains(said, certificate) {
			t.Errorf("%s: the log shows a secret: %s", name, said)
		}
		s.signs(appID, third, first)
		s.signs(otherAppID, otherCertificate, []string{"REFRESHER_JWT_SECRET=" + newSecret, "REFRESHER_JWT_ISSUER=login"})
	}

	// The set of served projects is fixed when the service starts.
	const added = "01234567890123456789012345678902"
	s.rewrite(dir, "projects:\n"+one+strings.Replace(other, otherAppID, added, 1), changed)
	s.signs(appID, certificate, first)
	s.signs(otherAppID, otherCertificate, []string{"REFRESHER_JWT_SECRET=" + newSecret, "REFRESHER_JWT_ISSUER=login"})
	s.signs(added, "", second)
	if rest := s.stop(syscall.SIGTERM); strings.Contains(rest, "hush-hush") || strings.Contains(rest, certificate) {
		t.Errorf("the log shows a secret: %s", rest)
	}
}
