package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The refresher command passes the type check for the operating systems for which no other test compiles it. To
// compile it for them would take minutes, since the standard library would be compiled too. No file of the module is
// for one processor architecture only, so one architecture for each system is enough.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	for _, system := range []string{"darwin", "windows"} {
		if err := typeCheck(t, system, "arm64"); err != nil {
			t.Errorf("%s: %v", system, err)
		}
	}
}

// typeCheck checks the types of the command and its dependencies. It skips the bodies of functions in packages of other
// modules.
func typeCheck(t *testing.T, goos, goarch string) error {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module", "./cmd/refresher")
	list.Dir, list.Stderr = "../..", os.Stderr
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		return err
	}
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	fset, sizes := token.NewFileSet(), types.SizesFor("gc", goarch)
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
			ImportMap       map[string]string
			Module          struct{ Main bool }
		}
		if err := decoder.Decode(&p); err != nil {
			return err
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		c := types.Config{Sizes: sizes, IgnoreFuncBodies: !p.Module.Main, Importer: importer(func(path string) (*types.Package, error) {
			return checked[cmp.Or(p.ImportMap[path], path)], nil
		})}
		if checked[p.ImportPath], err = c.Check(p.ImportPath, fset, files, nil); err != nil {
			return err
		}
	}
	return nil
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
