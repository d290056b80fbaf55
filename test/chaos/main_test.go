package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	// The service is run, not imported. This import, and the look at the
	// command's folder below, tell go test's cache that the tests depend on it.
	_ "refresher/internal/app"
)

const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"
)

// What the settings are for, see the package's documentation.
var (
	binary  string        // the service
	length  time.Duration // of a scenario
	callers int           // calls held in each
)

func TestMain(m *testing.M) {
	dir, err := prepare()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// prepare reads the settings and builds the service, without the race detector:
// what is raced for here lies between processes. The folder it returns is to be
// removed.
func prepare() (dir string, err error) {
	seconds, err := setting("CHAOS_SECONDS", 3)
	length = time.Duration(seconds) * time.Second
	if err != nil {
		return "", err
	}
	if callers, err = setting("CHAOS_CALLS", 60); err != nil {
		return "", err
	}
	if _, err := os.ReadDir("../../cmd/refresher"); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "refresher")
	output, err := exec.Command("go", "build", "-o", binary, "refresher/cmd/refresher").CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("go build: %w\n%s", err, output), os.RemoveAll(dir))
	}
	return dir, nil
}

func setting(name string, fallback int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: want a number of 1 or more, have %q", name, text)
	}
	return n, nil
}
