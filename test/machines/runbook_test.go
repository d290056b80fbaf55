//go:build programs

package machines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const runbook = "../../docs/operate/runbook.md"

func shell(t *testing.T, script string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if said, err := exec.CommandContext(ctx, "bash", append(args, "-c", script)...).CombinedOutput(); err != nil {
		t.Errorf("%s\n%v: %s", script, err, said)
	}
}

func commands(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, blocks := range sections(t, runbook) {
		for _, block := range blocks {
			shell(t, block, "-n")
			all.WriteString(block)
		}
	}
	return all.String()
}

// The queries of the runbook are valid PromQL, and name metrics that exist.
func TestQueriesOfTheRunbook(t *testing.T) {
	known := text(t, "../../docs/operate/metrics.md") + text(t, "../../deploy/prometheus/refresher.rules.yml")
	rules := "groups:\n- name: runbook\n  rules:\n"
	queries := regexp.MustCompile(`(?m)^ask '([^']+)'`).FindAllStringSubmatch(commands(t), -1)
	for i, query := range queries {
		rules += fmt.Sprintf("  - {record: 'runbook:%d', expr: '%s'}\n", i, query[1])
		for _, name := range regexp.MustCompile(`\b\w*:?refresher_\w+(:\w+)*`).FindAllString(query[1], -1) {
			if name = strings.TrimSuffix(name, "_bucket"); !regexp.MustCompile(`\b` + name + `\b`).MatchString(known) {
				t.Errorf("%s: there is no metric %s", query[1], name)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "runbook.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, "promtool check rules "+file)
}

// The filters of the runbook are valid for jq, and name messages that the service logs.
func TestFiltersOfTheRunbook(t *testing.T) {
	logs := strings.ReplaceAll(text(t, "../../docs/operate/logs.md"), "'", `\u0027`)
	filters := regexp.MustCompile(`lines -\w+ '([^']+)'`).FindAllStringSubmatch(commands(t), -1)
	for _, filter := range filters {
		shell(t, `echo '{"msg":"m","level":"INFO"}' | jq -R 'fromjson? | select(`+filter[1]+`)'`)
		for _, message := range regexp.MustCompile(`\.msg (?:== |\| startswith\()"([^"]+)"`).FindAllStringSubmatch(filter[1], -1) {
			want := "`" + message[1]
			if strings.Contains(filter[1], "==") {
				want += "`"
			}
			if !strings.Contains(logs, want) {
				t.Errorf("docs/operate/logs.md has no message %s", want)
			}
		}
	}
}
