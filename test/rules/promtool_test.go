//go:build programs

package rules

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusTakesThem(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", folder+"/refresher.rules.yml")
	promtool(t, "check", "config", folder+"/prometheus.yml")
}

func TestAlertsFireAndStaySilent(t *testing.T) {
	t.Parallel()
	for _, path := range suites(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			promtool(t, "test", "rules", path)
		})
	}
}
