package credential

import (
	"os"
	"strings"
	"testing"
)

func TestEachReasonIsInTroubleshooting(t *testing.T) {
	text, err := os.ReadFile("../../../docs/start/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## A credential is refused\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := strings.Count(section, "\n| `")
	for _, r := range reasons {
		if strings.Count(section, "\n| `"+string(r)+"` | ") != 1 {
			t.Errorf("not one row for %s", r)
		}
	}
	if rows != len(reasons) {
		t.Errorf("%d rows for %d reasons", rows, len(reasons))
	}
}
