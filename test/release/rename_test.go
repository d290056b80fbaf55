package release

import (
	"path/filepath"
	"strings"
	"testing"
)

// scripts/rename.sh changes the names of the Go modules and the npm package everywhere, twice in a row: each module
// finds its packages, the imports are in order, and the old names are gone.
func TestRename(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	must := func(args ...string) string {
		t.Helper()
		out, err := run(t, dir, nil, args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	must("bash", "-euo", "pipefail", "-c", `git -C "$0" ls-files -z -co --exclude-standard | tar -c -C "$0" --null -T - --ignore-failed-read | tar -x && git init -q && git add -A`, root)
	for _, c := range []struct{ module, npm, gone string }{
		{"github.com/someone/calls", "@someone/calls-client", `"refresher/(client|internal|test|tools|web)|@refresher/client`},
		{"git.example.com/calls/renewals", "@calls/tokens", `github.com/someone/calls|@someone/calls-client`},
	} {
		must("scripts/rename.sh", c.module, c.npm)
		if unformatted := must("gofmt", "-l", "."); unformatted != "" {
			t.Errorf("gofmt would change %s", unformatted)
		}
		if left, err := run(t, dir, nil, "git", "grep", "-nE", c.gone, "--", ":!scripts/rename.sh", ":!test/release"); err == nil {
			t.Errorf("old names are left:\n%s", left)
		}
	}
	for _, module := range []string{".", "bench", "test/deploy"} {
		ours := must("go", "-C", module, "list", "-deps", "-test", "-tags=programs", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "./...")
		if !strings.Contains(ours, "git.example.com/calls/renewals/") {
			t.Errorf("%s has the packages %s", module, ours)
		}
	}
	for _, wrong := range [][]string{nil, {"refresher", "@acme/client"}, {"github.com/acme/refresher", "refresher-client"}} {
		if out, err := run(t, dir, nil, append([]string{"scripts/rename.sh"}, wrong...)...); err == nil || !strings.Contains(out, "want a") {
			t.Errorf("%v: %v %s", wrong, err, out)
		}
	}
}
