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

// pass lets time go by in a synctest bubble, which takes none.
func pass(d time.Duration) { time.Sleep(d) } // bubble

// TestStandsAlone holds the judge to its independence: see doc.go.
func TestStandsAlone(t *testing.T) {
	forTests := map[string]bool{"go.uber.org/goleak": true, "github.com/google/go-cmp/cmp": true}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
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
			first, _, _ := strings.Cut(name, "/")
			standard := !strings.Contains(first, ".") && first != "refresher"
			test := strings.HasSuffix(path, "_test.go") && forTests[name]
			if !standard && !test && name != "refresher/test/edge" {
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
