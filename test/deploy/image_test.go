package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

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
	var commands []string
	for _, c := range last.Commands {
		commands = append(commands, fmt.Sprint(c))
		switch c.(type) {
		case *instructions.EnvCommand, *instructions.ArgCommand:
			t.Errorf("%s may carry a secret into the image", c.Name())
		}
	}
	text := strings.Join(commands, "\n") + "\n"
	for _, want := range []string{
		"USER 65532:65532\n", `CMD ["/refresher", "health"]`, `ENTRYPOINT ["/refresher"]`, `CMD ["serve"]`, "EXPOSE 8080\n", "STOPSIGNAL SIGTERM\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the image does not have %q:\n%s", want, text)
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

// The build context has every committed file: Go marks a build as modified if a committed file is missing. The context
// has no file that holds secrets, and none that was built here.
func TestBuildContext(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, "../../deploy/Dockerfile.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for ignored, paths := range map[bool][]string{
		true: {
			".env", ".env.local", "deploy/.env", "deploy/.env.production", "web/demo/.env",
			".bin/refresher", "web/client/node_modules/x/index.js", "dist/refresher",
		},
		false: append(strings.Fields(run(t, "git", "-C", "../..", "ls-files")), ".git/HEAD"),
	} {
		for _, path := range paths {
			if got, err := matcher.MatchesOrParentMatches(path); err != nil || got != ignored {
				t.Errorf("%s is left out: %v, %v", path, got, err)
			}
		}
	}
}

// root returns a folder with the image's file system, which any user may read.
func root(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	for path, from := range map[string]string{"refresher": built(t), "etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"} {
		run(t, "install", "-D", "-m", "755", from, filepath.Join(dir, path))
	}
	run(t, "chmod", "755", dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)))
	return dir
}

// inside returns a command that runs the program in the image's file system, as the image's user.
func inside(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("an empty root wants root: run the tests of test/deploy as root, as a container's build does")
	}
	cmd := exec.CommandContext(t.Context(), "/refresher", args...)
	cmd.Path, cmd.Err, cmd.Dir = "/refresher", nil, "/" // exec.Command would look for the program in the test's own root, but Linux looks for it in the new one
	cmd.Env = []string{
		"AGORA_APP_ID=970CA35de60c44645bbae8a215061b33", "AGORA_APP_CERTIFICATE=5CFd2fd1755d40ecb72977518be15d3b",
		"REFRESHER_JWT_SECRET=what signs credentials, 32 bytes or more", "REFRESHER_DRAIN_WINDOW=0s",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: dir, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// TestImage runs the image's contents as a container would: as an unprivileged user, in a file system that has nothing
// else and belongs to another user.
func TestImage(t *testing.T) {
	runtime.LockOSThread() // if this thread ended, Linux would kill the processes that it started
	dir := root(t)
	cmd := inside(t, dir, "serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it has ended, most likely
	log := bufio.NewScanner(stderr)
	var line struct {
		Address    string
		OpsAddress string `json:"ops_address"`
	}
	for line.OpsAddress == "" && log.Scan() {
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatal(log.Text(), err)
		}
	}

	for address, want := range map[string]string{line.OpsAddress: "ready", "127.0.0.1:1": ""} {
		text, err := inside(t, dir, "health", "--ready", "--ops-listen="+address).Output()
		if got := strings.TrimSpace(string(text)); got != want || (err == nil) != (want != "") {
			t.Errorf("health of %s: %q, %v", address, got, err)
		}
	}
	credential, err := inside(t, dir, "token", "grant", "--subject=ana", "--channels=daily", "--uids=1", "--roles=publisher").Output()
	if err != nil {
		t.Fatal(err)
	}
	header := "Authorization: Bearer " + strings.TrimSpace(string(credential))
	if got := run(t, "curl", "-s", "-H", header, "http://"+line.Address+"/rtc/daily/publisher/uid/1/"); !strings.Contains(got, `"rtcToken":"007`) {
		t.Errorf("the answer is %s", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for log.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	// The program wrote no file, so the root may be read-only.
	if files := strings.Fields(run(t, "find", dir, "-type", "f")); len(files) != 2 {
		t.Errorf("there are %v", files)
	}
}
