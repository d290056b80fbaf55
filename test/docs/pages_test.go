package docs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// glob returns the files below a folder whose names have an ending, by their paths from the root of the repository.
func glob(t *testing.T, folder, ending string) (paths []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("../.."), folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ending) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatal(folder, ending, err)
	}
	return paths
}

// sections returns the sections of a text by their headings of level two and three.
func sections(text string) map[string]string {
	found := make(map[string]string)
	heading, quoted := "", false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			quoted = !quoted
		}
		if !quoted && (strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "### ")) {
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
		found[heading] += line
	}
	return found
}

// anchor returns the fragment of a URL that leads to a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.ToLower(strings.NewReplacer("`", "", ",", "", ":", "", ".", "").Replace(heading)), " ", "-")
}

// TestLinks checks that the target of each link in the documents exists, with the heading that its #fragment names.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^)]+))?\)`)
	for _, page := range append(glob(t, "docs", ".md"), "README.md", "CONTRIBUTING.md") {
		for _, m := range link.FindAllStringSubmatch(readFile(t, page), -1) {
			to, heading := filepath.Join(filepath.Dir(page), m[1]), m[2]
			if m[1] == "" {
				to = page
			}
			if _, err := os.Stat("../../" + to); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if heading != "" && !slices.ContainsFunc(names(sections(readFile(t, to))), func(h string) bool { return anchor(h) == heading }) {
				t.Errorf("%s: %s has no heading #%s", page, to, heading)
			}
		}
	}
}

// TestNamesInArchitecture checks that docs/understand/architecture.md names only functions, types, packages and messages
// that exist. If the page links a name to a file, the file must declare it.
func TestNamesInArchitecture(t *testing.T) {
	page := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(readFile(t, "docs/understand/architecture.md"), "")
	var all strings.Builder
	for _, folder := range []string{"client", "cmd", "internal"} {
		for _, file := range glob(t, folder, ".go") {
			if !strings.HasSuffix(file, "_test.go") {
				all.WriteString(readFile(t, file))
			}
		}
	}
	messages := slices.Concat(fromClient(), fromServer())
	for _, m := range regexp.MustCompile("`(?:([A-Za-z]\\w*)\\.)?([A-Za-z]\\w*)`(?:\\]\\(../../([^)]+\\.go)\\))?").FindAllStringSubmatch(page, -1) {
		qualifier, name, source := m[1], m[2], all.String()
		if m[3] != "" {
			source = readFile(t, m[3])
		}
		receiver := `(\(\w+ \*?\w+\) )?`
		if isType := strings.ToLower(qualifier) != qualifier || m[3] != ""; qualifier != "" && isType {
			receiver = `\(\w+ \*?` + qualifier + `\) `
		}
		declared := regexp.MustCompile(`(?m)^(func ` + receiver + name + `\(|type ` + name + `\b|\t` + name + `\(|package ` + name + `$)`)
		if !declared.MatchString(source) && !slices.Contains(messages, name) {
			t.Errorf("%s: no such function, type, package or message", m[0])
		}
	}
}

// TestEndpointsAreDescribed checks that protocol.md has every endpoint of the classic token servers, and every endpoint
// for operators.
func TestEndpointsAreDescribed(t *testing.T) {
	page := readFile(t, "docs/build/protocol.md")
	for _, o := range operations() {
		if (o.tag() == "classic" || o.tag() == "operators") && !strings.Contains(page, "`"+o.String()) {
			t.Errorf("protocol.md has no %s", o)
		}
	}
}

// TestClientPages checks that each client of docs/build/clients handles every message, and every close code that
// needs more than a retry. It also covers Swift and Dart, whose clients no test runs.
func TestClientPages(t *testing.T) {
	var stop []string // a client stops after these codes, regardless of the last message
	var words []string
	for _, kind := range slices.Concat(fromClient(), fromServer()) {
		words = append(words, `["']`+kind+`["']`)
	}
	for _, c := range protocol.CloseCodes() {
		switch {
		case c.Then == protocol.Stop && c.Needs == "":
			stop = append(stop, fmt.Sprint(c.Code))
		case c.Then == protocol.JoinAfresh, c.Needs == protocol.TypeError:
			words = append(words, fmt.Sprintf(`\b%d\b`, c.Code))
		}
	}
	words = append(words, strings.Join(stop, ", "))
	for _, page := range glob(t, "docs/build/clients", ".md") {
		for _, word := range words {
			if filepath.Base(page) != "README.md" && !regexp.MustCompile(word).MatchString(readFile(t, page)) {
				t.Errorf("%s: has no %s", page, word)
			}
		}
	}
}

// TestCredentialExamples checks that the service accepts the credentials that the commands in credentials.md print,
// and the claims that the page shows.
func TestCredentialExamples(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(readFile(t, "docs/build/credentials.md"), "\\\n", " ")
	n := startNode(t, "auth=jwt")
	accepted := func(credential string) {
		t.Helper()
		// The service answers 401 to an invalid credential, and 403 to a valid one that does not grant this user.
		if r := n.request("GET", n.public()+"/rtm/nobody-is-granted-this", "", "Bearer "+credential); r.status != 403 {
			t.Errorf("%s: %d %s", credential, r.status, r.body)
		}
	}
	commands := regexp.MustCompile(`(?m)^\s*refresher (token grant.*)$`).FindAllStringSubmatch(text, -1)
	for _, m := range commands {
		accepted(refresher(t, words(m[1], nil)...))
	}
	claims := 0
	for _, m := range regexp.MustCompile("(?s)\n```json\n(.*?)```").FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], `"grants"`) {
			claims++
			block := regexp.MustCompile(`"(exp|until)": \d+`).ReplaceAllString(m[1], fmt.Sprintf(`"$1": %d`, time.Now().Unix()+60))
			accepted(apptest.SignWith(jwtSecret, parse([]byte(regexp.MustCompile(`"(iat|nbf)": \d+`).ReplaceAllString(block, `"$1": 1`)))))
		}
	}
	if len(commands) == 0 || claims == 0 {
		t.Errorf("credentials.md has %d commands and %d blocks of claims", len(commands), claims)
	}
}

func TestPromisesAreTested(t *testing.T) {
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	there := make(map[string]bool)
	for _, path := range slices.Concat(glob(t, "internal", "_test.go"), glob(t, "cmd", "_test.go"), glob(t, "test", "_test.go")) {
		for _, m := range function.FindAllStringSubmatch(readFile(t, path), -1) {
			there[filepath.Dir(path)+" "+m[1]] = true
		}
	}
	list := regexp.MustCompile("`((?:internal|cmd|test)[a-z/]*)` ((?:`(?:Test|Fuzz)\\w+`(?:, )?)+)")
	for _, m := range list.FindAllStringSubmatch(readFile(t, "docs/operate/security.md"), -1) {
		for name := range strings.SplitSeq(strings.TrimSuffix(m[2], ", "), ", ") {
			if test := m[1] + " " + strings.Trim(name, "`"); !there[test] {
				t.Errorf("there is no test %s", test)
			}
		}
	}
}

// TestNamedTestsExist looks for each test that a document names, and for each pattern in a command of a document.
func TestNamedTestsExist(t *testing.T) {
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	var names []string
	for _, folder := range []string{"bench", "client", "cmd", "internal", "test", "tools", "web"} {
		for _, path := range glob(t, folder, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(readFile(t, path), -1) {
				names = append(names, m[1])
			}
		}
	}
	name := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	pattern := regexp.MustCompile(`-(?:run|bench) '?([A-Z][\w|]*)`)
	for _, path := range append(glob(t, "docs", ".md"), "README.md", "CONTRIBUTING.md") {
		text := readFile(t, path)
		for _, n := range name.FindAllString(text, -1) {
			if !slices.Contains(names, n) {
				t.Errorf("%s names %s, which does not exist", path, n)
			}
		}
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			for part := range strings.SplitSeq(m[1], "|") {
				if !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, part) }) {
					t.Errorf("%s: %s fits no test", path, m[0])
				}
			}
		}
	}
}

// TestWebhooksAreDocumented compares openapi.yaml with the golden files of internal/hook, which have the requests that
// nodes send. The schemas must accept these files and the documented examples, and must have exactly the fields of the
// files.
func TestWebhooksAreDocumented(t *testing.T) {
	bodies := map[string][]any{"Event": nil}
	for _, path := range glob(t, "internal/hook/testdata", ".json") {
		body := parse([]byte(readFile(t, path)))
		if filepath.Base(path) == "request.json" {
			bodies["ApprovalRequests"] = append(bodies["ApprovalRequests"], body)
		} else {
			bodies["Event"] = append(bodies["Event"], body)
		}
	}
	fields := make(map[string]any) // first the fields of all events, then the fields of the requests for approval
	for _, event := range bodies["Event"] {
		maps.Copy(fields, event.(object))
	}
	sameNames(t, "Event", fields, "/components/schemas/Event/properties")
	clear(fields)
	for _, entry := range anyList(bodies["ApprovalRequests"][0].(object)["requests"]) {
		maps.Copy(fields, entry.(object))
	}
	sameNames(t, "ApprovalRequests", fields, "/components/schemas/ApprovalRequests/properties/requests/items/properties")

	const media = "/content/application~1json"
	for schema, example := range map[string]string{
		"Event": "event/post/requestBody", "ApprovalRequests": "approval/post/requestBody", "ApprovalDecisions": "approval/post/responses/200",
	} {
		for _, body := range append(bodies[schema], openAPI().at("/webhooks/" + example + media)["example"]) {
			if err := openAPI().check("/components/schemas/"+schema, body); err != nil {
				t.Errorf("%s: %v", schema, err)
			}
		}
	}
}

func sameNames(t *testing.T, what string, fields map[string]any, pointer string) {
	t.Helper()
	if diff := cmp.Diff(names(fields), names(openAPI().at(pointer))); diff != "" {
		t.Errorf("%s in the code (-), in openapi.yaml (+):\n%s", what, diff)
	}
}
