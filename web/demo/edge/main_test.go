package edge

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pass advances the clock of a synctest bubble.
func pass(d time.Duration) { time.Sleep(d) } // bubble

// self is this package's path.
const self = "refresher/web/demo/edge"

// The stand-in and its command import only the standard library; doc.go says why.
func TestStandsAlone(t *testing.T) {
	forTests := map[string]bool{"go.uber.org/goleak": true, "github.com/google/go-cmp/cmp": true}
	for _, folder := range []string{".", "../../../tools/edge"} {
		seen := imports(t, folder, func(path, name string) {
			first, _, _ := strings.Cut(name, "/")
			standard := !strings.Contains(first, ".") && first != "refresher"
			test := strings.HasSuffix(path, "_test.go") && forTests[name]
			if !standard && !test && name != self {
				t.Errorf("%s imports %s", path, name)
			}
		})
		if seen == 0 {
			t.Errorf("%s imports nothing: is it still there?", folder)
		}
	}
}

// No package of the service imports the stand-in, which judges the service in tests.
func TestServiceDoesNotKnowIt(t *testing.T) {
	seen := imports(t, "../../../internal", func(path, name string) {
		if name == self && !strings.HasSuffix(path, "_test.go") && filepath.Base(filepath.Dir(path)) != "apptest" {
			t.Errorf("%s imports %s", path, name)
		}
	})
	if seen == 0 {
		t.Error("no imports: is internal still there?")
	}
}

// imports calls the function `visit` with each import of each Go file under a folder, and counts them.
func imports(t *testing.T, folder string, visit func(path, name string)) (seen int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			seen++
			visit(path, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
