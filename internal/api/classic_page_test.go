package api_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"refresher/internal/agora"
	"refresher/internal/app/apptest"
)

// docs/build/classic.md shows requests with the decoded answers of the classic servers and of this
// service. The test checks this service's answers.
func TestClassicPage(t *testing.T) {
	n := apptest.StartNode(t, nil)
	rows := classicPage(t)
	if len(rows) < 40 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		t.Run(row.request, func(t *testing.T) {
			method, target, _ := strings.Cut(row.request, " ")
			path, body, _ := strings.Cut(target, " ")
			response, text := n.Do(method, path, body)
			if got := decoded(row.request, response, text); got != row.here {
				t.Errorf("answers %q, documented as %q", got, row.here)
			}
		})
	}
}

// comparison is a row of a table in docs/build/classic.md.
type comparison struct{ request, here string }

// classicPage returns the rows of all tables whose last column is this service's answer. "the same"
// there stands for the answer in the column before.
func classicPage(t *testing.T) (rows []comparison) {
	t.Helper()
	page, err := os.ReadFile("../../docs/build/classic.md")
	if err != nil {
		t.Fatal(err)
	}
	inTable := false
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case cells[0] == "request" && cells[len(cells)-1] == "here":
			inTable = true
		case inTable && strings.HasPrefix(cells[0], "`"):
			here := cells[len(cells)-1]
			if here == "the same" {
				here = cells[1]
			}
			rows = append(rows, comparison{strings.Trim(cells[0], "`"), here})
		}
	}
	return rows
}

// decoded returns an answer in the notation of docs/build/classic.md.
func decoded(request string, response apptest.Reply, body string) string {
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		return fmt.Sprintf("%d to `%s`", response.StatusCode, response.Header.Get("Location"))
	default:
		return strconv.Itoa(response.StatusCode)
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return "text: " + decodedToken(request, strings.TrimSpace(body))
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		return body
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		said = append(said, "`"+name+"`: "+decodedToken(request, fields[name]))
	}
	return strings.Join(said, "; ")
}

// words matches the parts of a request that may be names in a token.
var words = regexp.MustCompile(`[a-zA-Z0-9*_-]+`)

// decodedToken returns a token's services, privilege numbers and lifetime. For a 006 token, which has
// only checksums of names, it finds the names in the request.
func decodedToken(request, text string) string {
	token, err := agora.Parse(text)
	if err != nil {
		return text
	}
	name := func(sum uint32) string {
		for _, w := range append(words.FindAllString(request, -1), "0") {
			if crc32.ChecksumIEEE([]byte(w)) == sum {
				return w
			}
		}
		return ""
	}
	var services []string
	for _, s := range token.Services {
		if sums := token.Checksums; sums != nil && s.Type == agora.ServiceRTM {
			s.User = name(sums.Channel)
		} else if sums != nil {
			s.Channel, s.User = name(sums.Channel), name(sums.User)
		}
		var privileges []string
		for _, p := range s.Privileges {
			privileges = append(privileges, strconv.Itoa(int(p.ID)))
		}
		what := strings.ToUpper(s.Type.String())
		switch {
		case s.Type == agora.ServiceRTC:
			what += " " + s.Channel + " " + cmp.Or(s.User, "any")
		case s.User == "":
			what += " application"
		default:
			what += " " + s.User
		}
		services = append(services, what+" ("+strings.Join(privileges, " ")+")")
	}
	life := "never ends"
	if end := token.Services[0].Privileges[0].ExpiresAt; end != 0 {
		const unit = 10 // seconds; tokens are rounded to it, since the test does not know the exact second in which a token was made
		life = fmt.Sprintf("%d s", (end-token.IssuedAt+unit/2)/unit*unit)
	}
	version := ""
	if token.Version == agora.V006 {
		version = "006 "
	}
	return version + strings.Join(services, ", ") + ", " + life
}
