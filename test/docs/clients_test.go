package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"refresher/internal/protocol"
)

// TestClientPages checks that each client of docs/build/clients handles every message, and every close code that
// needs more than a retry. It also covers Swift and Dart, whose clients no test runs.
func TestClientPages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/build/clients/[a-z]*.md")
	if err != nil || len(pages) != 5 {
		t.Fatal(pages, err)
	}
	var stop []string // codes after which a client stops, regardless of the last message
	words := []string{
		"join", "resume", "ack", "nack", "renew", "leave", "ping",
		"joined", "token-privilege-will-expire", "token-privilege-did-expire", "reconnect", "ended", "pong", "error",
	}
	for i, word := range words {
		words[i] = "[\"']" + word + "[\"']"
	}
	for _, c := range protocol.CloseCodes() {
		switch {
		case c.Then == protocol.Stop && c.Needs == "":
			stop = append(stop, fmt.Sprint(c.Code))
		case c.Then == protocol.JoinAfresh, c.Needs == protocol.TypeError:
			words = append(words, fmt.Sprintf(`\b%d\b`, c.Code))
		}
	}
	for _, path := range pages {
		text := readFile(t, path[6:])
		if list := strings.Join(stop, ", "); !strings.Contains(text, list) {
			t.Errorf("%s: does not stop after %s", path[6:], list)
		}
		for _, word := range words {
			if !regexp.MustCompile(word).MatchString(text) {
				t.Errorf("%s: has no %s", path[6:], word)
			}
		}
	}
}
