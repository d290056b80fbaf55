package nodetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	// The tests run the service as a program instead of importing it. This import, and the reading of the folder
	// cmd/refresher below, tell go test's cache that the results of the tests depend on the service's source.
	_ "refresher/internal/app"
)

// These constants are an invented Agora project, which the nodes serve.
const (
	AppID       = "970CA35de60c44645bbae8a215061b33"
	Certificate = "5CFd2fd1755d40ecb72977518be15d3b"
)

// folder has the built program. It is empty until the program is built.
var folder string

// Main runs the tests of a package that uses nodes. It fails if a goroutine is left at the end, and exits.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(m, append(options, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))...)
}

// Built is the name of an environment variable: its value is the path of the service's program if that is already
// built. make test builds the program once for all packages and the browser tests.
const Built = "BUILT_REFRESHER"

// Program returns the path of the service's program, and builds it on the first call. The program is built without the
// race detector, since the tests with several nodes look for races between processes.
func Program(t testing.TB) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatalf("build the service: %v", err)
	}
	return program
}

var build = sync.OnceValues(func() (program string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if _, err := os.ReadDir(filepath.Join(root, "cmd", "refresher")); err != nil {
		return "", err
	}
	if built := os.Getenv(Built); built != "" {
		return built, nil
	}
	if folder, err = os.MkdirTemp("", "nodetest-"); err != nil {
		return "", err
	}
	program = filepath.Join(folder, "refresher")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", program, "./cmd/refresher") //nolint:gosec // the folder is ours.
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return program, nil
})

// moduleRoot returns the folder of the service's module, which is above the tests' folder. The tests may be in another
// module inside of that folder.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module refresher\n") {
			return dir, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("no go.mod of the service above the tests' folder")
		}
		dir = above
	}
}
