package main

import (
	"fmt"
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

// publicKey is an Ed25519 public key, whose private key was deleted.
const publicKey = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAxH3FnLj4IWnOeT4wVVwMvNCRaS5pJXtN5/qAdh+6XWQ=\n-----END PUBLIC KEY-----\n"

func TestProjectsFile(t *testing.T) {
	dir := t.TempDir()
	certificateFile := write(t, dir, "certificate", certificate+"\n"+otherCertificate+"\n")
	secretFile := write(t, dir, "secret", firstSecret+"\n")
	keyFile := write(t, dir, "key.pem", publicKey)
	got, err := readProjects(write(t, dir, "projects.yaml", fmt.Sprintf(`
# The first project has its secrets in files, the second has them here.
projects:
  - appId: %s
    appCertificateFile: %s
    jwtSecretFile: %s
    jwtPreviousSecret: %q
    jwtAudience: calls
    jwtIssuer: login
  - {appId: %s, appCertificate: %s, jwtSecret: %q, jwtPublicKeyFile: %s, jwksUrl: "https://example.com/jwks"}
`, appID, certificateFile, secretFile, otherSecret, otherAppID, otherCertificate, otherSecret, keyFile)))
	if err != nil {
		t.Fatal(err)
	}
	want := []project.Project{
		{
			AppID: appID, Certificates: []string{certificate, otherCertificate}, CertificateFile: certificateFile,
			Keys: credential.Keys{Secrets: []string{firstSecret, otherSecret}}, KeyFiles: []string{secretFile}, Audience: "calls", Issuer: "login",
		},
		{
			AppID: otherAppID, Certificates: []string{otherCertificate},
			Keys:     credential.Keys{Secrets: []string{otherSecret}, PublicKeyPEMs: []string{publicKey}, JWKSURL: "https://example.com/jwks"},
			KeyFiles: []string{keyFile},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(project.Project{}, "ReadKeys")); diff != "" {
		t.Error(diff)
	}
}

func TestBadProjectsFiles(t *testing.T) {
	dir := t.TempDir()
	secretFile := write(t, dir, "secret", firstSecret)
	quoted := write(t, dir, "quoted", `"`+firstSecret+`"`)
	id := "appId: " + appID + ", "
	both := id + "appCertificate: " + certificate + ", "
	good := both + fmt.Sprintf("jwtSecret: %q", firstSecret)
	with := func(fields string) string { return "projects: [{" + fields + "}]\n" }
	for name, c := range map[string]struct{ text, want string }{
		"empty":                    {"", "is empty; want projects: [{"},
		"no YAML":                  {"projects: [{" + good, "is not YAML (line 1)"},
		"a list":                   {"- {" + good + "}", "want an object with the fields projects; have a list of 1"},
		"no projects":              {"projects: []", "projects: want a list of 1 to 1000 projects; have a list of 0"},
		"projects: a text":         {"projects: " + firstSecret, "projects: want a list of 1 to 1000 projects; have a text"},
		"projects: nothing":        {"projects:", "projects: want a list of 1 to 1000 projects; have nothing"},
		"too many":                 {"projects: [" + strings.Repeat("{"+good+"},", 1001) + "]", "have a list of 1001"},
		"a project in no braces":   {"projects: &a [*a]", "projects[0]: want an object with the fields appId, "},
		"more than one document":   {with(good) + "---\n" + with(good), "has more than one YAML document"},
		"an unknown field":         {with(good + ", jwtsecret: " + firstSecret), "projects[0]: the field in line 1 is unknown; did you mean jwtSecret?"},
		"an unknown field outside": {with(good) + "x: !!binary " + firstSecret, "the field in line 2 is unknown; want projects"},
		"a field twice":            {with(good + ", jwtSecret: " + firstSecret), "projects[0].jwtSecret: is given twice"},
		"a list for a text":        {with(good + ", jwtAudience: [" + firstSecret + "]"), "projects[0].jwtAudience: want a text; have a list of"},
		"an object for a text":     {with(good + ", jwtAudience: {a: b}"), "projects[0].jwtAudience: want a text; have an object of 1 fields"},
		"no app id":                {with("appCertificate: " + certificate), "projects[0].appId is missing"},
		"no certificate":           {with(id + "jwtSecret: x"), "projects[0].appCertificate is missing"},
		"no keys":                  {with(both + "jwtAudience: x"), "projects[0] has no key that verifies"},
		"the second has no keys":   {"projects: [{" + good + "}, {appId: " + otherAppID + ", appCertificate: " + otherCertificate + "}]", "projects[1] has no key that verifies"},
		"two certificates":         {with(good + ", appCertificateFile: " + secretFile), "projects[0].appCertificate and projects[0].appCertificateFile are both set"},
		"two secrets":              {with(good + ", jwtSecretFile: " + secretFile), "projects[0].jwtSecret and projects[0].jwtSecretFile are both set"},
		"no such certificate file": {with(id + "appCertificateFile: /nowhere/certificate"), "projects[0].appCertificateFile: open /nowhere/certificate"},
		"no such secret file":      {with(both + "jwtSecretFile: /nowhere/secret"), "projects[0].jwtSecretFile: open /nowhere/secret"},
		"no such key file":         {with(both + "jwtPublicKeyFile: /nowhere/key"), "projects[0].jwtPublicKeyFile: open /nowhere/key"},
		"no key in the key file":   {with(both + "jwtPublicKeyFile: " + secretFile), "projects[0].jwtPublicKeyFile: " + secretFile + ": "},
		"a secret file in quotes":  {with(both + "jwtSecretFile: " + quoted), "projects[0].jwtSecretFile: " + quoted + ": is in quotes"},
		"a short secret":           {with(both + "jwtSecret: hush-hush"), "projects[0].jwtSecret: has 9 bytes; want at least 32"},
		"a bad key set":            {with(both + "jwksUrl: hush-hush"), "projects[0].jwksUrl: "},
		"a bad certificate":        {with(id + "appCertificate: hush-hush"), "projects[0].appCertificate: 9 characters long"},
		"a bad app id":             {with("appId: xyz"), "projects[0].appId: 3 characters long"},
		"the same project twice":   {"projects: [{" + good + "}, {" + good + "}]", "projects[1].appId: is the same as projects[0].appId"},
	} {
		_, err := readProjects(write(t, dir, "projects.yaml", c.text))
		if err == nil || !strings.HasPrefix(err.Error(), "--projects-file: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		demandNoSecret(t, err.Error())
	}
	if _, err := readProjects(filepath.Join(dir, "nowhere")); err == nil || !strings.HasPrefix(err.Error(), "--projects-file: open ") {
		t.Errorf("no file: %v", err)
	}
}

// When the projects file changes, its certificates and keys are read again, and so are files that it names for the
// first time. Invalid settings change nothing.
func TestServeFollowsTheProjectsFile(t *testing.T) {
	const third = "00000000000000000000000000000003"
	c := command(t, []string{"REFRESHER_SESSION_SECRET=hush-hush, it seals keys"},
		"serve --listen=127.0.0.1:0 --ops-listen=127.0.0.1:0 --drain-window=0 --projects-file=projects.yaml")
	write(t, c.Dir, "certificate", certificate+"\n")
	write(t, c.Dir, "secret", firstSecret+"\n")
	first := "projects:\n  - {appId: " + appID + ", appCertificateFile: certificate, jwtSecretFile: secret}\n"
	other := func(certificate string) string {
		return fmt.Sprintf("  - {appId: %s, appCertificate: %s, jwtSecret: %q, jwtAudience: calls, jwtIssuer: login}\n", otherAppID, certificate, otherSecret)
	}
	write(t, c.Dir, "projects.yaml", first+other(otherCertificate))
	s := startCommand(t, c)
	ofFirst := grant(t, secretEnv, "--app-id="+appID+" --channels=room --uids=7")
	ofOther := grant(t, []string{"REFRESHER_JWT_SECRET=" + otherSecret, "REFRESHER_JWT_AUDIENCE=calls"}, "--app-id="+otherAppID+" --jwt-issuer=login --channels=room --uids=7")
	signs := func(first, other string) {
		t.Helper()
		for credential, certificate := range map[string]string{ofFirst: first, ofOther: other} {
			if token := s.rtcToken(credential); !signedBy(t, token, certificate) {
				t.Errorf("%.4s does not sign", certificate)
			}
		}
	}
	signs(certificate, otherCertificate)
	if status, _ := s.request(http.MethodGet, "/v1/sessions", grant(t, secretEnv, "--admin")); status != http.StatusUnauthorized {
		t.Errorf("a credential without a project: %d", status)
	}

	// rewrite replaces the projects file, makes the service read it, and waits until the log says so.
	rewrite := func(text, said string) {
		t.Helper()
		if err := os.Rename(write(t, c.Dir, "next.yaml", text), filepath.Join(c.Dir, "projects.yaml")); err != nil {
			t.Fatal(err)
		}
		if err := c.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.find(said + `.*projects\.yaml`)
	}
	const changed = "file changed, its new content is in use"
	write(t, c.Dir, "certificate2", third)
	first = strings.Replace(first, "File: certificate", "File: certificate2", 1)
	rewrite(first+other(certificate), changed)
	signs(third, certificate)
	rewrite(first+other("hush"), "file cannot be used")
	signs(third, certificate)

	write(t, c.Dir, "certificate2", otherCertificate)
	rewrite(first+other(third), changed)
	signs(otherCertificate, third)
}
