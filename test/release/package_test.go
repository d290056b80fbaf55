package release

import (
	"os"
	"path/filepath"
	"testing"
)

// The packages' scripts stop the service when the package is removed, but not when it is upgraded. Where systemd does
// not run, they do nothing.
func TestPackageScripts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script, argument string
		systemd          bool
		want             string
	}{
		"installed":               {"postinstall.sh", "configure", true, "daemon-reload\n"},
		"installed in an image":   {"postinstall.sh", "configure", false, ""},
		"removed, Debian":         {"preremove.sh", "remove", true, "disable --now refresher.service\n"},
		"upgraded, Debian":        {"preremove.sh", "upgrade", true, ""},
		"removed, RPM":            {"preremove.sh", "0", true, "disable --now refresher.service\n"},
		"upgraded, RPM":           {"preremove.sh", "1", true, ""},
		"removed from an image":   {"preremove.sh", "remove", false, ""},
		"removed, nobody says of": {"preremove.sh", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			said := filepath.Join(dir, "said")
			// The shell function systemctl records its arguments. The function [ answers the script's question whether
			// systemd runs.
			prelude := "systemctl() { echo \"$@\" >>\"$SAID\"; }\n[() { test \"$3\" = ']' && test \"$2\" = /run/systemd/system && $SYSTEMD; }\n"
			err := os.WriteFile(filepath.Join(dir, "script"), []byte(prelude+read(t, "scripts/package/"+c.script)), 0o600)
			if err != nil {
				t.Fatal(err)
			}
			env := []string{"SAID=" + said, "SYSTEMD=" + map[bool]string{true: "true", false: "false"}[c.systemd]}
			if out, err := run(t, dir, env, "bash", "script", c.argument); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			got, err := os.ReadFile(said)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("systemctl was told %q; want %q", got, c.want)
			}
		})
	}
}
