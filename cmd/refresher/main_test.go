package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"refresher/web/demo/edge"
)

// runEnv is the variable that makes the test binary act as the refresher command.
const runEnv = "REFRESHER_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"
)

// command prepares `refresher args...` in an empty folder, with env as its whole environment.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Dir = t.TempDir()
	c.Env = append([]string{runEnv + "=1", "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}, env...)
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		c.Env = append(c.Env, "GOCOVERDIR="+dir)
	}
	return c
}

// run runs `refresher args...` and waits until it has ended.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return finish(t, command(t, env, args...))
}

func finish(t *testing.T, c *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

var credentialsEnv = []string{"AGORA_APP_ID=" + appID, "AGORA_APP_CERTIFICATE=" + certificate}

func TestWrongSettingsNameThemselves(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no app id":            {nil, []string{"serve", "--auth=none"}, "--app-id (or AGORA_APP_ID) is missing"},
		"no certificate":       {[]string{"APP_ID=" + appID}, []string{"serve", "--auth=none"}, "--app-certificate (or AGORA_APP_CERTIFICATE) is missing"},
		"bad app id":           {[]string{"APP_ID=xyz", "APP_CERTIFICATE=" + certificate}, []string{"serve", "--auth=none", "--listen=127.0.0.1:0"}, "APP_ID: 3 characters long; want 32 hex digits"},
		"bad certificate":      {[]string{"APP_ID=" + appID, "APP_CERTIFICATE=hush-hush"}, []string{"serve", "--auth=none", "--listen=127.0.0.1:0"}, "APP_CERTIFICATE: 9 characters long"},
		"auth not said":        {credentialsEnv, []string{"serve", "--listen=127.0.0.1:0"}, "--jwt-secret (or REFRESHER_JWT_SECRET): is missing"},
		"open to the network":  {credentialsEnv, []string{"serve", "--auth=none"}, "--insecure"},
		"demo to the network":  {nil, []string{"demo", "--listen=0.0.0.0:0"}, "--insecure"},
		"not a duration":       {credentialsEnv, []string{"serve", "--token-ttl=soon"}, "--token-ttl: want a duration"},
		"not one, by env":      {append([]string{"REFRESHER_TOKEN_TTL=soon"}, credentialsEnv...), []string{"serve"}, "REFRESHER_TOKEN_TTL: want a duration such as 30s"},
		"ttl over a day":       {credentialsEnv, []string{"serve", "--auth=none", "--listen=127.0.0.1:0", "--max-ttl=25h"}, "max-ttl: "},
		"unknown token format": {credentialsEnv, []string{"serve", "--token-version=008"}, "--token-version"},
		"unknown flag":         {credentialsEnv, []string{"serve", "--nonsense"}, "--nonsense"},
		"both certificates":    {append([]string{"REFRESHER_APP_CERTIFICATE_FILE=/dev/null"}, credentialsEnv...), []string{"serve"}, "AGORA_APP_CERTIFICATE and REFRESHER_APP_CERTIFICATE_FILE are both set"},
		"no socket's path":     {credentialsEnv, []string{"serve", "--auth=none", "--listen=unix:refresher.sock"}, "listen: want an absolute path"},
		"demo on a socket":     {nil, []string{"demo", "--listen=unix:/tmp/refresher.sock"}, "--listen: "},
		"not permissions":      {credentialsEnv, []string{"serve", "--socket-mode=rw"}, "want permissions in octal"},
		"no base path":         {credentialsEnv, []string{"serve", "--auth=none", "--listen=127.0.0.1:0", "--base-path=calls"}, "base-path: "},
		"port in use":          {credentialsEnv, []string{"serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=" + busyPort(t)}, "ops-listen: "},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := run(t, c.env, c.args...)
			if code == 0 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, said %q; want %q", code, stderr, c.want)
			}
			if all := stdout + stderr; strings.Contains(all, certificate) || strings.Contains(all, "hush-hush") {
				t.Errorf("a secret was shown: %s", all)
			}
		})
	}
}

// An error that ends a service is logged in the log's format, whatever its cause.
func TestWhatEndsAServiceIsInItsLog(t *testing.T) {
	for name, c := range map[string]struct {
		env        []string
		args       []string
		file, want string
		code       int
		text       bool
	}{
		"a setting":           {nil, []string{"serve"}, "", "--app-id (or AGORA_APP_ID) is missing", 1, false},
		"a flag":              {nil, []string{"serve", "--token-ttl=soon"}, "", "--token-ttl", 80, false},
		"a variable":          {[]string{"REFRESHER_TOKEN_TTL=soon"}, []string{"serve"}, "", "REFRESHER_TOKEN_TTL: ", 1, false},
		"a file":              {nil, []string{"serve"}, "FOO BAR\n", ".env", 2, false},
		"json by environment": {[]string{"REFRESHER_LOG_FORMAT=json"}, []string{"serve"}, "", "--app-id", 1, false},
		"text by environment": {[]string{"REFRESHER_LOG_FORMAT=text"}, []string{"serve"}, "", "--app-id", 1, true},
		"text by flag":        {nil, []string{"serve", "--log-format=text"}, "", "--app-id", 1, true},
		"text by two words":   {nil, []string{"serve", "--log-format", "text"}, "", "--app-id", 1, true},
		"no service":          {nil, []string{"token", "mint"}, "", "--app-id", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, c.env, c.args...)
			if c.file != "" {
				if err := os.WriteFile(filepath.Join(cmd.Dir, ".env"), []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			stdout, stderr, code := finish(t, cmd)
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			var line struct{ Time, Level, Msg, Error string }
			err := json.Unmarshal([]byte(stderr), &line)
			switch {
			case c.text:
				if err == nil || !strings.HasPrefix(stderr, "refresher: error: ") || !strings.Contains(stderr, c.want) {
					t.Errorf("%q", stderr)
				}
			case err != nil, stdout != "", line.Time == "", line.Level != "ERROR", line.Msg != "the service cannot start, or go on", !strings.Contains(line.Error, c.want):
				t.Errorf("%q and %q, %v", stdout, stderr, err)
			}
		})
	}
}

// busyPort returns an address on which another listener is open.
func busyPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestHelpKeepsSecrets(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"demo", "--help"}, {"token", "mint", "--help"}} {
		stdout, stderr, code := run(t, append([]string{"REFRESHER_SESSION_SECRET=hush-hush"}, credentialsEnv...), args...)
		if code != 0 || !strings.Contains(stdout, "refresher") {
			t.Errorf("%v: exit %d", args, code)
		}
		if all := stdout + stderr; strings.Contains(all, certificate) || strings.Contains(all, "hush-hush") {
			t.Errorf("%v shows a secret", args)
		}
	}
}

func TestVersion(t *testing.T) {
	stdout, _, code := run(t, nil, "version")
	if code != 0 || !strings.HasPrefix(stdout, "refresher ") || !strings.Contains(stdout, "go1.") {
		t.Errorf("exit %d: %q", code, stdout)
	}
}

func TestMintAndInspect(t *testing.T) {
	stdout, stderr, code := run(t, credentialsEnv, "token", "mint", "--channel=c", "--uid=7", "--role=publisher", "--rtm-user=seven", "--chat-user=sev", "--ttl=90s")
	if code != 0 {
		t.Fatal(stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 3 {
		t.Fatalf("minted %q", stdout)
	}
	for i, name := range []string{"rtc", "rtm", "chat"} {
		fields := strings.Fields(lines[i])
		if fields[0] != name {
			t.Errorf("line %d: %q", i, lines[i])
		}
		said, stderr, code := run(t, credentialsEnv, "token", "inspect", fields[1])
		if code != 0 || !strings.Contains(said, "signature  good") || !strings.Contains(said, "service    "+name) {
			t.Errorf("inspect: exit %d: %s%s", code, said, stderr)
		}
	}
	rtc := strings.Fields(lines[0])[1]
	asJSON, _, code := run(t, nil, "token", "inspect", "--json", rtc)
	var token struct{ AppID string }
	if err := json.Unmarshal([]byte(asJSON), &token); err != nil || code != 0 || token.AppID != appID {
		t.Errorf("inspect --json: exit %d, %v: %s", code, err, asJSON)
	}
	piped := command(t, credentialsEnv, "token", "inspect", "-")
	piped.Stdin = strings.NewReader(rtc + "\n")
	if said, stderr, code := finish(t, piped); code != 0 || !strings.Contains(said, `channel "c"`) {
		t.Errorf("inspect -: exit %d: %s%s", code, said, stderr)
	}
	wrong := []string{"AGORA_APP_CERTIFICATE=" + strings.Repeat("0", 32)}
	if _, stderr, code := run(t, wrong, "token", "inspect", rtc); code == 0 || !strings.Contains(stderr, "signature") {
		t.Errorf("another certificate: exit %d, %q", code, stderr)
	}
	if _, stderr, code := run(t, nil, "token", "inspect", rtc[:40]); code == 0 || stderr == "" {
		t.Errorf("half a token: exit %d, %q", code, stderr)
	}
	if _, stderr, code := run(t, credentialsEnv, "token", "mint"); code == 0 || !strings.Contains(stderr, "--channel") {
		t.Errorf("nothing to mint: exit %d, %q", code, stderr)
	}
}

// `token mint` refuses the names that the service refuses, and the wildcard channel.
func TestMintKeepsToTheRulesForNames(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // part of the error; empty if a token is printed
	}{
		{[]string{"--channel=*", "--uid=7"}, ""},
		{[]string{"--channel=*", "--uid=7", "--version=006"}, "rtc.channel: "},
		{[]string{"--channel=daily-*", "--uid=7"}, "rtc.channel: "},
		{[]string{"--channel=c", "--account=123"}, ""},
		{[]string{"--channel=c", "--account=0"}, "rtc.account: "},
		{[]string{"--rtm-user=0"}, "rtm.userId: "},
		{[]string{"--rtm-user=null"}, "rtm.userId: "},
		{[]string{"--chat-user=0"}, ""},
	} {
		stdout, stderr, code := run(t, credentialsEnv, append([]string{"token", "mint"}, c.args...)...)
		if (code == 0) != (c.want == "") || (stdout != "") != (c.want == "") || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
}

// service is a running `refresher serve` or `refresher demo`.
type service struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *bufio.Reader
	addr string
	ops  string // host:port of the operations port
}

// serve starts the command and reads the service's addresses from its log.
func serve(t *testing.T, c *exec.Cmd) *service {
	t.Helper()
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, cmd: c, log: bufio.NewReader(stderr)}
	line := s.find(`(.*[" ]ops_address.*)`)
	s.addr = regexp.MustCompile(`[" ]address"?[:=]"?([^" ]+)`).FindStringSubmatch(line)[1]
	s.ops = regexp.MustCompile(`[" ]ops_address"?[:=]"?([^" ]+)`).FindStringSubmatch(line)[1]
	return s
}

// find reads the log up to a line that matches the regular expression `pattern`, and returns the match.
func (s *service) find(pattern string) string {
	s.t.Helper()
	expression := regexp.MustCompile(pattern)
	var seen strings.Builder
	for {
		line, err := s.log.ReadString('\n')
		seen.WriteString(line)
		if m := expression.FindStringSubmatch(line); m != nil {
			return m[len(m)-1]
		}
		if err != nil {
			s.t.Fatalf("no %s in the log: %s", pattern, &seen)
		}
	}
}

// stop sends the signal, and checks that the service drains and exits with code 0.
func (s *service) stop(signal os.Signal) string {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	rest, err := io.ReadAll(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("ended with %v: %s", err, rest)
	}
	return string(rest)
}

func TestServeStopsOnASignal(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0"))
		rest := s.stop(signal)
		if !strings.Contains(rest, `"draining"`) || !strings.Contains(rest, `"stopped"`) {
			t.Errorf("%v: %s", signal, rest)
		}
	}
}

func TestSettingsFromAFile(t *testing.T) {
	c := command(t, nil, "serve", "--ops-listen=127.0.0.1:0")
	env := fmt.Sprintf("APP_ID=%s\nAPP_CERTIFICATE=%s\nREFRESHER_AUTH=none\nREFRESHER_INSECURE=true\nPORT=0\n", appID, certificate)
	if err := os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, c).stop(syscall.SIGTERM)

	for _, text := range []string{`APP_CERTIFICATE="hush-hush`, "FOO BAR\nAPP_CERTIFICATE=hush-hush\n"} {
		bad := command(t, nil, "sessions", "list")
		if err := os.WriteFile(filepath.Join(bad.Dir, ".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stderr, code := finish(t, bad); code == 0 || !strings.Contains(stderr, ".env") || strings.Contains(stderr, "hush-hush") {
			t.Errorf("a broken .env: exit %d, %q", code, stderr)
		}
	}
}

// Empty variables, which Compose sets when it has no value, do not hide other settings.
func TestVariablesSetToNothingDoNotHideOthers(t *testing.T) {
	env := []string{
		"AGORA_APP_ID=", "APP_ID=" + appID, "AGORA_APP_CERTIFICATE=", "APP_CERTIFICATE=" + certificate,
		"REFRESHER_LISTEN=", "PORT=0", "REFRESHER_TOKEN_TTL=", "REFRESHER_INSECURE=true",
	}
	serve(t, command(t, env, "serve", "--auth=none", "--ops-listen=127.0.0.1:0")).stop(syscall.SIGTERM)

	// Empty variables do not hide settings in .env either, and empty lines of .env hide nothing.
	c := command(t, []string{"AGORA_APP_ID=", "APP_ID=", "APP_CERTIFICATE=", "PORT="}, "serve", "--auth=none", "--ops-listen=127.0.0.1:0")
	file := "AGORA_APP_ID=\nAPP_ID=" + appID + "\nAPP_CERTIFICATE=" + certificate + "\nPORT=0\nREFRESHER_TOKEN_TTL=\nREFRESHER_INSECURE=true\n"
	if err := os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, c).stop(syscall.SIGTERM)
}

// SERVER_PORT is the port setting of the classic Go token server. PORT, which hosting platforms set,
// overrides it.
func TestServerPort(t *testing.T) {
	env := []string{"REFRESHER_INSECURE=true", "SERVER_PORT=0"}
	s := serve(t, command(t, append(env, credentialsEnv...), "serve", "--auth=none", "--ops-listen=127.0.0.1:0"))
	if strings.HasSuffix(s.addr, ":8080") {
		t.Errorf("listens on %s", s.addr)
	}
	s.stop(syscall.SIGTERM)
	env = []string{"REFRESHER_INSECURE=true", "PORT=0", "SERVER_PORT=none"}
	serve(t, command(t, append(env, credentialsEnv...), "serve", "--auth=none", "--ops-listen=127.0.0.1:0")).stop(syscall.SIGTERM)
}

func TestDemoTakesAPortForOneOfThisMachine(t *testing.T) {
	demo := serve(t, command(t, []string{"PORT=0"}, "demo", "--ops-listen=127.0.0.1:0"))
	if !strings.HasPrefix(demo.addr, "127.0.0.1:") {
		t.Errorf("listens on %s", demo.addr)
	}
	demo.stop(os.Interrupt)
}

func TestInterruptEndsACommandThatReads(t *testing.T) {
	c := command(t, nil, "token", "inspect", "-")
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("ended as if nothing had happened")
	}
}

func TestCertificateFromAFile(t *testing.T) {
	c := command(t, nil, "token", "mint", "--app-id="+appID, "--app-certificate-file=cert", "--rtm-user=u")
	if err := os.WriteFile(filepath.Join(c.Dir, "cert"), []byte(certificate+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := finish(t, c); code != 0 || !strings.HasPrefix(stdout, "rtm  007") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// TestDemoAndCall does what a new user does first: it runs the demo and a call. The stand-in for Agora's edge
// holds the call as long as its tokens are valid.
func TestDemoAndCall(t *testing.T) {
	judge, err := edge.New(edge.Config{AppID: appID, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = judge.Serve(ctx, listener)
	}()
	t.Cleanup(func() {
		cancel()
		<-served
		judge.Close()
	})

	demo := serve(t, command(t, credentialsEnv, "demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--min-ttl=4s"))
	stdout, stderr, code := run(t, nil, "call", "--url=http://"+demo.addr, "--ttl=4", "--renewals=3", "--edge="+listener.Addr().String())
	if code != 0 || strings.Count(stdout, "  renewed ") != 3 || !strings.Contains(stdout, "3 renewals confirmed") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	demo.stop(os.Interrupt)
	record := judge.Record()
	if total := record.Total; total.LostSeconds != 0 || total.Drops != 0 || total.RenewalsAccepted != 6 || total.RenewalsRefused != 0 || total.Breaks != 0 {
		t.Errorf("the judge saw %+v", total)
	}
}

// A call whose URL can never work ends at once, with an error that says what to write.
func TestCallGivesUpWhereTryingAgainIsUseless(t *testing.T) {
	demo := serve(t, command(t, nil, "demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"))
	defer demo.stop(os.Interrupt)
	for url, want := range map[string]string{
		"ws://" + demo.addr + "/nowhere": "--url: connect: the URL answers ",
		"ws://" + demo.ops:               "--url: connect: the URL answers 404 Not Found to a WebSocket; want the service's public port",
		"wss://" + demo.addr + "/v1/ws":  "--url: the service does not speak TLS there; want ws://",
		"https://" + demo.addr:           "--url: the service does not speak TLS there; want ws://",
		demo.addr:                        "--url: want a scheme, a host and a path, such as wss://",
	} {
		if stdout, stderr, code := run(t, nil, "call", "--url="+url); code != 1 || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("%s: exit %d: %s%s", url, code, stdout, stderr)
		}
	}
	if err := useless(&net.DNSError{Err: "no such host", Name: "nowhere.example", IsNotFound: true}); err == nil {
		t.Error("a host that does not exist is tried again")
	}
	if err := useless(syscall.ECONNREFUSED); err != nil {
		t.Errorf("a service that may come is given up: %v", err)
	}
}

func TestCallThatIsRefused(t *testing.T) {
	demo := serve(t, command(t, nil, "demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"))
	defer demo.stop(os.Interrupt)
	_, stderr, code := run(t, nil, "call", "--url=ws://"+demo.addr+"/v1/ws", "--channel=a/b")
	if code == 0 || !strings.Contains(stderr, "rtc.channel") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
