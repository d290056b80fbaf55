package docs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchor returns the fragment that links to a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.ToLower(strings.NewReplacer("`", "", ",", "", ":", "", ".", "").Replace(heading)), " ", "-")
}

// TestLinks checks that the target of each link in the documents exists, with the heading that its #fragment names.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^)]+))?\)`)
	var documents []string
	if err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			documents = append(documents, path)
		}
		return err
	}); err != nil || len(documents) < 20 {
		t.Fatal(documents, err)
	}
	for _, path := range slices.Concat([]string{"../../README.md", "../../CONTRIBUTING.md"}, documents) {
		text := readFile(t, path[6:])
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, heading := filepath.Join(filepath.Dir(path), m[1]), m[2]
			if m[1] == "" {
				to = path
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", path[6:], err)
				continue
			}
			if heading == "" {
				continue
			}
			if !slices.ContainsFunc(names(sections(readFile(t, to[6:]))), func(h string) bool { return anchor(h) == heading }) {
				t.Errorf("%s: %s has no heading #%s", path[6:], to[6:], heading)
			}
		}
	}
}

// TestDecisionList checks that the list of decisions is complete.
func TestDecisionList(t *testing.T) {
	records, err := filepath.Glob("../../docs/understand/adr/0*.md")
	if err != nil {
		t.Fatal(err)
	}
	list := readFile(t, "docs/understand/adr/README.md")
	for _, path := range records {
		name := filepath.Base(path)
		title, _, _ := strings.Cut(readFile(t, "docs/understand/adr/"+name), "\n")
		number, err := strconv.Atoi(name[:4])
		if err != nil || !strings.HasPrefix(title, fmt.Sprintf("# %d. ", number)) {
			t.Errorf("%s begins with %q", name, title)
		}
		if !strings.Contains(list, fmt.Sprintf("| [%d](%s) |", number, name)) {
			t.Errorf("%s is not in the list", name)
		}
	}
}

// quotations returns the code blocks of one language in a text.
func quotations(text, language string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestCredentialExamples checks that the service accepts the credentials that the commands in credentials.md print,
// and the claims that the page shows.
func TestCredentialExamples(t *testing.T) {
	t.Parallel()
	text := readFile(t, "docs/build/credentials.md")
	n := startNode(t, "auth=jwt")
	ask := func(credential string) {
		t.Helper()
		// The service answers 401 to an invalid credential, and 403 to a valid one that does not grant this user.
		if r := n.request(t, "GET", n.public()+"/rtm/nobody-is-granted-this", "", "Authorization", "Bearer "+credential); r.status != 403 {
			t.Errorf("%s: %d %s", credential, r.status, r.body)
		}
	}
	commands := 0
	for _, block := range quotations(text, "sh") {
		for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
			if args, ok := strings.CutPrefix(strings.TrimSpace(line), "refresher token grant"); ok {
				commands++
				ask(refresher(t, append([]string{"token", "grant"}, words(args, func(s string) string { return s })...)...))
			}
		}
	}
	if commands < 3 {
		t.Errorf("only %d commands", commands)
	}
	claims := 0
	for _, block := range quotations(text, "json") {
		if !strings.Contains(block, `"grants"`) {
			continue
		}
		claims++
		block = regexp.MustCompile(`"(exp|until)": \d+`).ReplaceAllString(block, fmt.Sprintf(`"$1": %d`, time.Now().Unix()+60))
		ask(sign(regexp.MustCompile(`"(iat|nbf)": \d+`).ReplaceAllString(block, `"$1": 1`)))
	}
	if claims == 0 {
		t.Error("no claims")
	}
}

// sign returns the claims as a JWT that is signed with HS256.
func sign(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(claims))
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}

// TestPromisesAreTested checks that the tests which security.md names exist.
func TestPromisesAreTested(t *testing.T) {
	there := make(map[string]bool)
	for _, root := range []string{"internal", "cmd", "test"} {
		maps.Copy(there, testsBelow(t, root))
	}
	named := 0
	for _, m := range regexp.MustCompile("`((?:internal|cmd|test)[a-z/]*)` ((?:`(?:Test|Fuzz)\\w+`(?:, )?)+)").FindAllStringSubmatch(readFile(t, "docs/operate/security.md"), -1) {
		for name := range strings.SplitSeq(strings.TrimSuffix(m[2], ", "), ", ") {
			named++
			if test := m[1] + " " + strings.Trim(name, "`"); !there[test] {
				t.Errorf("there is no test %s", test)
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d tests are named", named)
	}
}

// testsBelow returns the tests in a folder and its subfolders, as "folder name".
func testsBelow(t *testing.T, root string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("../../"+root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(readFile(t, path[6:]), -1) {
			found[filepath.Dir(path)[6:]+" "+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
