package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// program builds the binary by the Dockerfile's build step, in the folder `scratch`.
var (
	scratch string
	program = sync.OnceValues(build)
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "deploy"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

func built(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// serveEnvironment returns the names of the environment variables of refresher serve.
func serveEnvironment(t *testing.T) map[string]bool {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), built(t), "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	names := make(map[string]bool)
	for _, m := range regexp.MustCompile(`\$([A-Z_]+)`).FindAllStringSubmatch(string(help), -1) {
		names[m[1]] = true
	}
	if len(names) < 30 {
		t.Fatalf("only %d settings in:\n%s", len(names), help)
	}
	return names
}

func seconds(t *testing.T, text string) int64 {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return int64(d / time.Second)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
