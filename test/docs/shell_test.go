package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// jwtSecret signs the credentials of the tests.
const jwtSecret = "a secret of the tests, and of nothing else"

// scratch is a folder that all tests share. It is removed at the end.
var scratch string

// built returns the path of the command: either the one that make test has built, or one that this function builds
// once.
var built = sync.OnceValues(func() (string, error) {
	if program := os.Getenv("BUILT_REFRESHER"); program != "" {
		return program, nil
	}
	program := filepath.Join(scratch, "refresher")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-o", program, "../../cmd/refresher").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the command: %w: %s", err, out)
	}
	return program, err
})

// refresher runs the command, and returns its output.
func refresher(t *testing.T, args ...string) string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(os.Environ(), "REFRESHER_JWT_SECRET="+jwtSecret)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("refresher %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

var word = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

// words splits a command line into words, as a shell does. Quotes must enclose whole words.
func words(text string, expand func(string) string) (all []string) {
	for _, w := range word.FindAllString(text, -1) {
		switch w[0] {
		case '\'':
			w = w[1 : len(w)-1]
		case '"':
			w = expand(w[1 : len(w)-1])
		default:
			w = expand(w)
		}
		all = append(all, w)
	}
	return all
}

// expand replaces $NAME by the transcript's variable NAME.
func (p *play) expand(text string) string {
	p.t.Helper()
	return os.Expand(text, func(name string) string {
		value, ok := p.shell[name]
		if !ok {
			p.t.Fatalf("$%s was not set before", name)
		}
		return value
	})
}

var assignment = regexp.MustCompile(`^([A-Z]+)=\$\(refresher (.*)\)$`)

// command executes a shell line of the transcript: it runs refresher, or sends the request of a curl command.
func (p *play) command(text string) {
	p.t.Helper()
	if m := assignment.FindStringSubmatch(text); m != nil {
		p.shell[m[1]] = refresher(p.t, words(m[2], p.expand)...)
		return
	}
	args := words(text, p.expand)
	if args[0] != "curl" {
		p.t.Fatalf("%s: this test knows only refresher and curl", text)
	}
	method, key, body, address := "GET", "", "", ""
	for i := 1; i < len(args); i++ {
		option := args[i]
		if strings.HasPrefix(option, "-") {
			i++
		}
		switch option {
		case "-X":
			method = args[i]
		case "-H":
			key = strings.TrimPrefix(args[i], "Authorization: Bearer ")
		case "-d":
			body = p.outgoing(args[i])
			if method == "GET" {
				method = "POST"
			}
		default:
			address = p.named(option)
		}
	}
	p.path, p.reply = address, nil
	p.ask, p.looks = p.asking(method, address, body, key), method == "GET"
}
