package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"refresher/client"
)

// runEnv is an environment variable with which the test binary runs as the refresher command.
const runEnv = "REFRESHER_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	appID            = "970CA35de60c44645bbae8a215061b33"
	certificate      = "5CFd2fd1755d40ecb72977518be15d3b"
	otherAppID       = "01234567890123456789012345678901" // YAML may parse this App ID as a number
	otherCertificate = "fedcba9876543210fedcba9876543210"
	firstSecret      = "hush-hush, of the first project, 32 bytes"
	otherSecret      = "hush-hush, of the other project, 32 bytes"
)

var (
	credentialsEnv = []string{"AGORA_APP_ID=" + appID, "AGORA_APP_CERTIFICATE=" + certificate}
	secretEnv      = []string{"REFRESHER_JWT_SECRET=" + firstSecret}
)

func demandNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{certificate, otherCertificate, "hush"} {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

// command prepares a command line of refresher in an empty folder. Its environment has the variables in env and no
// other settings.
func command(t *testing.T, env []string, line string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], strings.Fields(line)...)
	c.Dir = t.TempDir()
	c.Env = append([]string{runEnv + "=1", "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE"), "TMPDIR=" + c.Dir}, env...)
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		c.Env = append(c.Env, "GOCOVERDIR="+dir)
	}
	return c
}

func run(t *testing.T, env []string, line string) (stdout, stderr string, code int) {
	t.Helper()
	return finish(t, command(t, env, line))
}

func finish(t *testing.T, c *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	demandNoDemoFiles(t, c)
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// works runs a command line that must succeed, and returns what it prints.
func works(t *testing.T, env []string, line string) string {
	t.Helper()
	stdout, stderr, code := run(t, env, line)
	if code != 0 || stderr != "" {
		t.Fatalf("%s: exit %d: %s%s", line, code, stdout, stderr)
	}
	return stdout
}

// demandNoDemoFiles checks that a command has removed the temporary files of the demo.
func demandNoDemoFiles(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(c.Dir, "refresher-demo-*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// grant makes a credential by `refresher token grant`.
func grant(t *testing.T, env []string, flags string) string {
	t.Helper()
	return strings.TrimSpace(works(t, env, "token grant "+flags))
}

// service is a running `refresher serve` or `refresher demo`.
type service struct {
	t         *testing.T
	cmd       *exec.Cmd
	log       *bufio.Reader
	said      strings.Builder // the part of the log that was read
	addr, ops string
}

// start starts a service on free ports of this machine. At the end of the test the service is stopped, and must not
// have logged a secret.
func start(t *testing.T, env []string, line string) *service {
	t.Helper()
	return startCommand(t, command(t, env, line+" --ops-listen=127.0.0.1:0 --drain-window=0 --listen=127.0.0.1:0"))
}

// startCommand starts a service by its command, and reads its addresses from its log.
func startCommand(t *testing.T, c *exec.Cmd) *service {
	t.Helper()
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, cmd: c}
	s.log = bufio.NewReader(io.TeeReader(stderr, &s.said))
	t.Cleanup(func() {
		if c.ProcessState == nil {
			s.stop(syscall.SIGTERM)
		}
	})
	line := s.find(`(.*[" ]ops_address.*)`)
	s.addr = regexp.MustCompile(`[" ]address"?[:=]"?([^" ]+)`).FindStringSubmatch(line)[1]
	s.ops = regexp.MustCompile(`[" ]ops_address"?[:=]"?([^" ]+)`).FindStringSubmatch(line)[1]
	return s
}

// find reads the log until a line matches `pattern`. It returns the part that matches or, if the pattern has a group,
// the part that matches the group.
func (s *service) find(pattern string) string {
	s.t.Helper()
	expression := regexp.MustCompile(pattern)
	for {
		line, err := s.log.ReadString('\n')
		if m := expression.FindStringSubmatch(line); m != nil {
			return m[len(m)-1]
		}
		if err != nil {
			s.t.Fatalf("no %s in the log: %s", pattern, &s.said)
		}
	}
}

// stop sends the signal. The service must drain and exit with code 0, and must not have logged a secret.
func (s *service) stop(signal os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Error(err)
	}
	rest, err := io.ReadAll(s.log)
	if err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("stopped")) {
		s.t.Errorf("ended with %v: %s", err, rest)
	}
	demandNoSecret(s.t, s.said.String())
	demandNoDemoFiles(s.t, s.cmd)
}

func (s *service) request(method, path, credential string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, nil)
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

// write writes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An error names the setting as it was written, and shows no secret.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	quoted := write(t, dir, "certificate", `"`+certificate+`"`)
	project := func(id, certificate, secret string) string {
		return "  - {appId: " + id + ", appCertificate: " + certificate + ", jwtSecret: '" + secret + "'}\n"
	}
	one := write(t, dir, "one.yaml", "projects:\n"+project(appID, certificate, firstSecret))
	two := write(t, dir, "two.yaml", "projects:\n"+project(appID, certificate, firstSecret)+project(otherAppID, otherCertificate, otherSecret))
	ours := func(more ...string) []string { return append(more, credentialsEnv...) }
	for _, c := range []struct {
		env        []string
		line, want string
	}{
		{nil, "serve --auth=none", "--app-id (or AGORA_APP_ID) is missing"},
		{[]string{"APP_ID=" + appID}, "serve --auth=none", "--app-certificate (or AGORA_APP_CERTIFICATE) is missing"},
		{[]string{"APP_ID=xyz", "APP_CERTIFICATE=" + certificate}, "serve --auth=none", "APP_ID: 3 characters long; want 32 hex digits"},
		{[]string{"APP_ID=" + appID, "APP_CERTIFICATE=hush-hush"}, "serve --auth=none", "APP_CERTIFICATE: 9 characters long"},
		{[]string{"APP_ID=" + appID + "\n", "REFRESHER_APP_CERTIFICATE_FILE=" + quoted}, "serve --auth=none", "REFRESHER_APP_CERTIFICATE_FILE: " + quoted + ": is in quotes"},
		{ours("REFRESHER_APP_CERTIFICATE_FILE=/dev/null"), "serve", "AGORA_APP_CERTIFICATE and REFRESHER_APP_CERTIFICATE_FILE are both set"},
		{ours(), "serve", "--jwt-secret (or REFRESHER_JWT_SECRET): is missing"},
		{ours(), "serve --auth=none", "--insecure"},
		{ours(), "serve --token-ttl=soon", "--token-ttl: want a duration"},
		{ours("REFRESHER_TOKEN_TTL=60"), "serve", "REFRESHER_TOKEN_TTL: has no unit; want a duration such as 60s"},
		{ours(), "serve --auth=none --listen=127.0.0.1:0 --max-ttl=25h", "max-ttl: "},
		{ours(), "serve --nonsense", "--nonsense"},
		{ours(), "serve --log-level=loud", "--log-level: want debug, info, warn or error"},
		{ours(), "serve --max-sessions=many", "--max-sessions: want a whole number"},
		{ours(), "serve --join-rate=fast", "--join-rate: want a number"},
		{ours(), "serve --socket-mode=rw", "want permissions in octal"},
		{ours(), "serve --auth=none --listen=unix:refresher.sock", "listen: want an absolute path"},
		{ours("REFRESHER_EVENTS_SECRET=hush-hush"), "serve --auth=none --listen=127.0.0.1:0 --events-url=http://127.0.0.1:1", "REFRESHER_EVENTS_SECRET: want at least 24 bytes"},
		{ours("REFRESHER_AUTHORIZE_SECRET=whsec_hush"), "serve --auth=none --listen=127.0.0.1:0 --authorize-url=http://127.0.0.1:1", "REFRESHER_AUTHORIZE_SECRET: "},

		{nil, "serve --projects-file=" + two, "REFRESHER_SESSION_SECRET): is missing"},
		{ours(), "serve --projects-file=" + one, "want one"},
		{[]string{"REFRESHER_JWT_ISSUER=login"}, "serve --projects-file=" + one, "want one"},
		{[]string{"REFRESHER_SESSION_SECRET=hush-hush, it seals keys", "REFRESHER_AUTH=none"}, "serve --projects-file=" + two, "REFRESHER_AUTH: none works with one project"},

		{nil, "demo --listen=0.0.0.0:0", "--insecure"},
		{nil, "demo --listen=unix:/tmp/refresher.sock", "--listen: "},
		{nil, "demo --certificate-grace=0", "--certificate-grace"},
		{nil, "demo --listen=127.0.0.1:0 --token-ttl=2s", "token-ttl: "},
		{[]string{"APP_ID=xyz"}, "demo", "APP_ID: 3 characters long"},
		{[]string{"APP_ID=" + appID}, "demo --stand-in", "--app-certificate (or AGORA_APP_CERTIFICATE) is missing"},

		{ours(), "token mint", "--channel"},
		{ours(), "token mint --channel=daily-* --uid=7", "--channel: '*' at byte 6 is not allowed"},
		{nil, "token inspect 007abc", "refresher: error: "},
		{nil, "token grant", "--jwt-secret (or REFRESHER_JWT_SECRET) is missing"},
		{[]string{"REFRESHER_JWT_SECRET=hush-hush"}, "token grant", "REFRESHER_JWT_SECRET: has 9 bytes; want at least 32"},
		{secretEnv, "token grant --roles=admin", "publisher"},
		{secretEnv, "token grant --uids=ana", "--uids: want a list of uids"},
		{secretEnv, "token grant --until=tomorrow", "--until: want"},
		{secretEnv, "token grant --until=-8h", "--until"},
		{secretEnv, "token grant --ttl=-1h", "ttl"},
		{secretEnv, "token grant --max-ttl=1500ms", "max-ttl: want whole seconds"},

		{nil, "sessions show", "session"},
		{nil, "revoke --for=1h", "nothing to revoke"},
		{nil, "revoke --uid=7 --for=100ms", "--for: want at least 1s, in whole seconds"},
		{nil, "revoke everyone", "unexpected argument everyone"},
	} {
		stdout, stderr, code := run(t, c.env, c.line)
		if code == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, said %q; want %q", c.line, code, stdout+stderr, c.want)
		}
		demandNoSecret(t, stdout+stderr)
	}
}

// An error that ends a service is logged in the log's format, whatever its cause.
func TestWhatEndsAServiceIsInItsLog(t *testing.T) {
	for _, c := range []struct {
		env        []string
		line, want string
		code       int
		text       bool
	}{
		{nil, "serve", "--app-id (or AGORA_APP_ID) is missing", 1, false},
		{nil, "serve --token-ttl=soon", "--token-ttl", 80, false},
		{[]string{"REFRESHER_LOG_FORMAT=text"}, "serve", "--app-id", 1, true},
		{nil, "serve --log-format=text", "--app-id", 1, true},
		{nil, "serve --log-format text", "--app-id", 1, true},
		{nil, "token mint", "--app-id", 1, true},
	} {
		stdout, stderr, code := run(t, c.env, c.line)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %q, %q", c.line, code, stdout, stderr)
		}
		var line struct{ Time, Level, Msg string }
		isJSON := json.Unmarshal([]byte(stderr), &line) == nil && line.Time != "" && line.Level == "ERROR" && line.Msg == "fatal error, the service exits"
		if isJSON == c.text || strings.HasPrefix(stderr, "refresher: error: ") != c.text {
			t.Errorf("%s: %q", c.line, stderr)
		}
	}
}

func TestHelpKeepsSecrets(t *testing.T) {
	env := append([]string{"REFRESHER_SESSION_SECRET=hush-hush", "REFRESHER_CREDENTIAL=hush-hush"}, credentialsEnv...)
	for _, line := range []string{"--help", "serve --help", "demo --help", "token mint --help", "sessions list --help"} {
		demandNoSecret(t, works(t, env, line))
	}
}

func TestMintAndInspect(t *testing.T) {
	dir := t.TempDir()
	minted := works(t, []string{"APP_ID=" + appID}, "token mint --app-certificate-file="+write(t, dir, "certificate", certificate+"\n")+
		" --channel=c --uid=7 --role=publisher --rtm-user=seven --chat-user=sev --ttl=90s")
	fields := strings.Fields(minted)
	if len(fields) != 6 || fields[0] != "rtc" || fields[2] != "rtm" || fields[4] != "chat" {
		t.Fatalf("minted %q", minted)
	}
	for i := 0; i < 6; i += 2 {
		said := works(t, credentialsEnv, "token inspect "+fields[i+1])
		matches(t, said, "service "+fields[i]+" .*")
		matches(t, said, "signature good: .*")
	}
	rtc := fields[1]
	var token struct{ AppID string }
	if err := json.Unmarshal([]byte(works(t, nil, "token inspect --json "+rtc)), &token); err != nil || token.AppID != appID {
		t.Errorf("%+v, %v", token, err)
	}
	piped := command(t, credentialsEnv, "token inspect - --service=rtc")
	piped.Stdin = strings.NewReader(rtc + "\n")
	if said, stderr, code := finish(t, piped); code != 0 || !strings.Contains(said, `channel "c"`) {
		t.Errorf("inspect -: exit %d: %s%s", code, said, stderr)
	}
	wrong := []string{"AGORA_APP_CERTIFICATE=" + otherCertificate}
	if _, stderr, code := run(t, wrong, "token inspect "+rtc); code == 0 || !strings.Contains(stderr, "signature") {
		t.Errorf("another certificate: exit %d, %q", code, stderr)
	}
}

// Empty variables hide neither other variables nor lines of .env. Compose sets a variable to an empty text if it has no
// value.
func TestEnvironmentAndEnvFile(t *testing.T) {
	c := command(t, []string{"AGORA_APP_ID=", "APP_ID=", "APP_CERTIFICATE=", "PORT=0", "REFRESHER_LOG_LEVEL=info"}, "serve --ops-listen=127.0.0.1:0")
	write(t, c.Dir, ".env", "AGORA_APP_ID=\nAPP_ID="+appID+"\nAPP_CERTIFICATE="+certificate+"\nPORT=none\nREFRESHER_AUTH=none\nREFRESHER_INSECURE=true\nREFRESHER_TOKEN_TTL=\n")
	startCommand(t, c)
}

// SERVER_PORT is the port setting of the classic Go token server. PORT, which hosting platforms set, overrides it.
func TestPortVariables(t *testing.T) {
	for want, env := range map[string][]string{
		":8080": nil, ":7000": {"SERVER_PORT=7000"}, ":7001": {"SERVER_PORT=7000", "PORT=7001"}, ":7002": {"PORT=7001", "REFRESHER_LISTEN=7002"},
	} {
		t.Run(want, func(t *testing.T) {
			if c, err := serveConfig(t, env...); err != nil || c.Listen != want {
				t.Errorf("%v: %s, %v", env, c.Listen, err)
			}
		})
	}
}

// A call whose URL can never work ends at once, with an error that says what to change.
func TestCallGivesUpWhereTryingAgainIsUseless(t *testing.T) {
	demo := start(t, nil, "demo")
	for line, want := range map[string]string{
		"--url=ws://" + demo.ops:                        "--url: connect: the URL answers 404 Not Found to a WebSocket; want the service's public port",
		"--url=https://" + demo.addr:                    "--url: the service does not speak TLS there; want ws://",
		"--url=" + demo.addr:                            "--url: want a scheme and a host, such as https://",
		"--url=http://" + demo.addr + " --channel=a/b":  "--channel: '/' at byte 1",
		"--url=http://" + demo.addr + " --edge=nowhere": "--edge: ",
	} {
		if stdout, stderr, code := run(t, nil, "call "+line); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
	var said strings.Builder
	(&call{out: &said}).notify(client.Event{Kind: client.Lost, Err: syscall.ECONNREFUSED, After: time.Second})
	if !strings.HasSuffix(said.String(), "lost      connection refused; again in 1.0s\n") {
		t.Errorf("said %q", said.String())
	}
	for useful, errs := range map[bool][]error{
		false: {&net.DNSError{Name: "nowhere.example", IsNotFound: true}, &client.HandshakeError{Status: http.StatusNotFound}},
		true:  {syscall.ECONNREFUSED, &net.DNSError{IsTemporary: true}, &client.HandshakeError{Status: http.StatusTooManyRequests}, &client.HandshakeError{Status: http.StatusBadGateway}},
	} {
		for _, err := range errs {
			if got := useless(err); (got == nil) != useful {
				t.Errorf("%v: %v", err, got)
			}
		}
	}
}

// matches checks that a line of the text matches the regular expression. A space in the expression matches any number
// of spaces.
func matches(t *testing.T, text, expression string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(expression, " ", ` +`) + ` *$`).MatchString(text) {
		t.Errorf("%s\nhas no line %s", text, expression)
	}
}

// parse parses flags into a command, in the environment of this process.
func parse(t *testing.T, command any, args ...string) error {
	t.Helper()
	_, err := kong.Must(command, append(slices.Clone(valueMappers()), kong.Name("refresher"))...).Parse(args)
	return err
}
