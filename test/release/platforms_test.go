package release

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// platforms are the platforms of a release.
var platforms = [][2]string{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

// The command passes the type check for each platform; compiling the standard library for each
// of them would take minutes. The module has no file for one processor architecture only, so one architecture per
// system is enough.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		if p[1] != "arm64" {
			continue
		}
		t.Run(p[0]+"/"+p[1], func(t *testing.T) {
			ours, err := typeCheck(t, "../..", "./cmd/refresher", p[0], p[1])
			if err != nil || ours < 10 {
				t.Errorf("%d packages of ours, %v", ours, err)
			}
		})
	}
}

// The check notices a function that one platform lacks.
func TestPlatformsDiffer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module refresher\n\ngo 1.26\n",
		"main.go": "package main\n\nimport \"syscall\"\n\nfunc main() { _ = syscall.Kill(1, 0) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := typeCheck(t, dir, ".", "linux", "arm64"); err != nil {
		t.Error(err)
	}
	if _, err := typeCheck(t, dir, ".", "windows", "amd64"); err == nil {
		t.Error("Windows has syscall.Kill")
	}
}

// typeCheck checks the types of a command and its dependencies, and counts the packages of
// this module. It skips the bodies of functions in packages of other modules.
func typeCheck(t *testing.T, dir, command, goos, goarch string) (ours int, err error) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module,Error", command)
	list.Dir, list.Stderr = dir, os.Stderr
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		return 0, err
	}
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	fset, sizes := token.NewFileSet(), types.SizesFor("gc", goarch)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
			ImportMap       map[string]string
			Module          *struct{ Main bool }
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return ours, nil
		} else if err != nil {
			return 0, err
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return 0, err
			}
			files = append(files, f)
		}
		isOurs := p.Module != nil && p.Module.Main
		if isOurs {
			ours++
		}
		c := types.Config{
			Sizes:            sizes,
			IgnoreFuncBodies: !isOurs,
			Importer: importer(func(path string) (*types.Package, error) {
				if mapped, ok := p.ImportMap[path]; ok {
					path = mapped
				}
				if found := checked[path]; found != nil {
					return found, nil
				}
				return nil, errors.New("not listed: " + path)
			}),
		}
		if checked[p.ImportPath], err = c.Check(p.ImportPath, fset, files, nil); err != nil {
			return 0, err
		}
	}
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
