package docs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"refresher/internal/protocol"
)

// TestCloseCodesAreGenerated holds the tables of close codes, and the cases of the
// browser library's test, against the table of internal/protocol. They are written by
// go generate.
func TestCloseCodesAreGenerated(t *testing.T) {
	t.Parallel()
	generated(t, "../../docs/build/protocol.md", "<!-- begin: go generate ./test/docs -->\n", "<!-- end -->", closeTable())
	generated(t, "../../docs/asyncapi.yaml", "      # begin: go generate ./test/docs\n", "      # end\n", closeList())
	generated(t, "../../web/client/test/closecodes.json", "", "", closeCases(t))
}

func closeTable() string {
	var b strings.Builder
	b.WriteString("\n| code | then | when |\n|---|---|---|\n")
	for _, c := range protocol.CloseCodes() {
		then := string(c.Then)
		if c.Needs != "" {
			then += " after `" + c.Needs + "`, else " + string(protocol.Retry)
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", c.Code, then, c.When)
	}
	b.WriteString("\n")
	return b.String()
}

func closeList() string {
	var b strings.Builder
	for _, c := range protocol.CloseCodes() {
		fmt.Fprintf(&b, "      - {code: %d, then: %s", c.Code, c.Then)
		if c.Needs != "" {
			fmt.Fprintf(&b, ", needs: %s", c.Needs)
		}
		if c.Errors != nil {
			fmt.Fprintf(&b, ", errors: [%s]", commas(c.Errors))
		}
		if c.Reasons != nil {
			fmt.Fprintf(&b, ", reasons: [%s]", commas(c.Reasons))
		}
		fmt.Fprintf(&b, ", description: '%s'}\n", strings.ReplaceAll(c.When, "'", "''"))
	}
	return b.String()
}

func commas[S ~string](all []S) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

// closeCases is what a client does after each code, by the last message before it, and
// after codes that the protocol does not name.
func closeCases(t *testing.T) string {
	t.Helper()
	type after struct {
		Code  protocol.CloseCode  `json:"code"`
		None  protocol.AfterClose `json:"none"`
		Error protocol.AfterClose `json:"error"`
		Ended protocol.AfterClose `json:"ended"`
	}
	codes := []protocol.CloseCode{1005, 1015, 3000, 4321, 4999}
	for _, c := range protocol.CloseCodes() {
		codes = append(codes, c.Code)
	}
	slices.Sort(codes)
	var lines []string
	for _, c := range codes {
		line, err := json.Marshal(after{c, c.After(""), c.After(protocol.TypeError), c.After(protocol.TypeEnded)})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, "  "+string(line))
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]\n"
}
