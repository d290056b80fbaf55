package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const dockerfile = "../../deploy/Dockerfile"

// stages reads the Dockerfile, and returns its stages and the warnings of BuildKit's linter.
func stages() (all []instructions.Stage, warnings []string, err error) {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	for _, w := range parsed.Warnings {
		warnings = append(warnings, w.Short)
	}
	l := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}})
	all, _, err = instructions.Parse(parsed.AST, l)
	return all, warnings, err
}

func TestDockerfile(t *testing.T) {
	all, warnings, err := stages()
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	last := all[len(all)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the image is made from %s", last.BaseName)
	}
	found := make(map[string]string)
	for _, c := range last.Commands {
		found[strings.ToUpper(c.Name())] += fmt.Sprintln(c)
		switch c := c.(type) {
		case *instructions.UserCommand:
			if c.User != "65532:65532" {
				t.Errorf("it runs as %s", c.User)
			}
		case *instructions.HealthCheckCommand:
			if got := strings.Join(c.Health.Test, " "); got != "CMD /refresher health" {
				t.Errorf("its health is %s", got)
			}
		case *instructions.EntrypointCommand:
			if c.CmdLine[0] != "/refresher" || c.PrependShell {
				t.Errorf("it runs %v", c.CmdLine)
			}
		case *instructions.CmdCommand:
			if c.PrependShell {
				t.Error("it wants a shell, which it has not")
			}
		case *instructions.EnvCommand, *instructions.ArgCommand:
			t.Errorf("%s may carry a secret into the image", c.Name())
		}
	}
	for _, name := range []string{"USER", "HEALTHCHECK", "ENTRYPOINT", "CMD", "EXPOSE", "STOPSIGNAL", "LABEL"} {
		if found[name] == "" {
			t.Errorf("no %s", name)
		}
	}
}

// build runs the Dockerfile's build step in a copy of the checkout.
func build() (string, error) {
	all, _, err := stages()
	if err != nil {
		return "", err
	}
	var step string
	for _, c := range all[0].Commands {
		if run, ok := c.(*instructions.RunCommand); ok && strings.Contains(run.CmdLine[0], "go build") {
			step = run.CmdLine[0]
		}
	}
	if step == "" {
		return "", errors.New("the Dockerfile builds nothing")
	}
	out := filepath.Join(scratch, "refresher")
	step = strings.ReplaceAll(step, "/out/refresher", out)
	cmd := exec.Command("sh", "-ec", step)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", step, err, text)
	}
	return out, nil
}

func TestIgnoredFilesAreInNoCommit(t *testing.T) {
	// Go marks a build as modified if a committed file is missing.
	listed, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files").Output()
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignored(t)
	for path := range strings.Lines(string(listed)) {
		if path = strings.TrimSpace(path); ignored(path) {
			t.Errorf("%s is left out", path)
		}
	}
}

// The build context has no files that hold secrets, and none that were built here.
func TestSecretsStayOutOfTheContext(t *testing.T) {
	ignored := ignored(t)
	for _, path := range []string{
		".env", ".env.local", "deploy/.env", "deploy/.env.production", "web/demo/.env", ".bin/refresher", "web/client/node_modules/x/index.js", "dist/refresher",
	} {
		if !ignored(path) {
			t.Errorf("%s is sent to the builder", path)
		}
	}
	for _, path := range []string{"deploy/systemd/refresher.env", "go.mod", ".git/HEAD"} {
		if ignored(path) {
			t.Errorf("%s is left out", path)
		}
	}
}

// ignored returns a function that reports whether BuildKit leaves a path out of the build
// context.
func ignored(t *testing.T) func(path string) bool {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, "../../deploy/Dockerfile.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) bool {
		match, err := m.MatchesOrParentMatches(path)
		if err != nil {
			t.Fatal(err)
		}
		return match
	}
}

// root returns a folder with the image's file system, made by the image's COPY instructions.
func root(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	for path, from := range map[string]string{"refresher": built(t), "etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"} {
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	for _, dir := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // for another user
			t.Fatal(err)
		}
	}
	return dir
}

// inside returns a command that runs in the image's file system, as the image's user.
func inside(ctx context.Context, t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("an empty root wants root: run the tests of test/deploy as root, as a container's build does")
	}
	cmd := exec.CommandContext(ctx, "/refresher", args...)
	cmd.Path, cmd.Err = "/refresher", nil // exec looks the path up inside the new root
	cmd.Dir, cmd.Env = "/", env
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: dir, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// TestImage runs the image's contents as a container would: in a file system with nothing
// else, whose root belongs to another user, and as an unprivileged user.
func TestImage(t *testing.T) {
	runtime.LockOSThread() // if this thread ended, the system would kill the processes that it started
	dir := root(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	env := []string{
		"AGORA_APP_ID=970CA35de60c44645bbae8a215061b33", "AGORA_APP_CERTIFICATE=5CFd2fd1755d40ecb72977518be15d3b",
		"REFRESHER_JWT_SECRET=what signs credentials, 32 bytes or more", "REFRESHER_LISTEN=127.0.0.1:0", "REFRESHER_OPS_LISTEN=127.0.0.1:0",
		"REFRESHER_DRAIN_WINDOW=0s",
	}
	cmd := inside(ctx, t, dir, env, "serve")
	log := &lines{found: make(chan string, 1)}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it has ended, most likely
	var serving string
	select {
	case serving = <-log.found:
	case <-ctx.Done():
		t.Fatalf("it does not serve:\n%s", log)
	}
	ops := regexp.MustCompile(`"ops_address":"([^"]+)"`).FindStringSubmatch(serving)[1]
	public := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(serving)[1]

	for flag, want := range map[string]string{"--ops-listen=" + ops: "ok", "--ready --ops-listen=" + ops: "ready"} {
		text, err := inside(ctx, t, dir, nil, append([]string{"health"}, strings.Fields(flag)...)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("health %s: %v %s", flag, err, text)
		}
	}
	if text, err := inside(ctx, t, dir, nil, "health", "--ops-listen=127.0.0.1:1").CombinedOutput(); err == nil {
		t.Errorf("a service that is not there is healthy: %s", text)
	}
	grant := inside(ctx, t, dir, env, "token", "grant", "--subject=ana", "--channels=daily", "--uids=1", "--roles=publisher")
	credential, err := grant.Output()
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]int{"": http.StatusUnauthorized, "Bearer " + strings.TrimSpace(string(credential)): http.StatusOK} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+public+"/rtc/daily/publisher/uid/1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d, want %d: %s", response.StatusCode, want, text)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, log)
	}
	// The program wrote no file, so the root may be read-only.
	var files []string
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 {
		t.Errorf("there are %v", files)
	}
}

// lines keeps a log, and finds the line with the address on which the node serves.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	found chan string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, `"msg":"serving"`) {
			l.found <- line
		}
	}
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
