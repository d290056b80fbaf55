package nodetest

import (
	"encoding/json"
	"fmt"
	"strings"

	"refresher/test/program"
)

// entry is what tests look at in a line of the log. A line that is no JSON, such
// as those of a panic, has nothing of it.
type entry struct {
	Level      string `json:"level"`
	Message    string `json:"msg"`
	OpsAddress string `json:"ops_address"`
}

func parse(line program.Line) entry {
	var e entry
	if json.Unmarshal([]byte(line.Text), &e) != nil {
		return entry{}
	}
	return e
}

// Await waits until the node has logged a message that begins like this so many
// times since the last mark.
func (n *Node) Await(times int, message string) {
	n.t.Helper()
	if _, err := n.await(n.mark, times, message); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

// await returns the last of the lines it waits for.
func (n *Node) await(from, times int, message string) (found entry, err error) {
	seen := 0
	err = n.log.Await(from, n.process.Done(), Patience, func(line program.Line) bool {
		e := parse(line)
		if strings.HasPrefix(e.Message, message) {
			found = e
			seen++
		}
		return seen >= times
	})
	if err != nil {
		return entry{}, fmt.Errorf("logged %q %d times of %d: %w", message, seen, times, err)
	}
	return found, nil
}

// Logged are the lines of the log that contain a text.
func (n *Node) Logged(text string) []string {
	var found []string
	for _, line := range n.log.Lines(0) {
		if strings.Contains(line.Text, text) {
			found = append(found, line.Text)
		}
	}
	return found
}

// Errors are the lines of the log that report a failure of the service's own, and
// those that are no log at all, such as a panic's.
func (n *Node) Errors() []string {
	var found []string
	for _, line := range n.log.Lines(0) {
		if e := parse(line); e.Level == "ERROR" || e.Level == "" {
			found = append(found, line.Text)
		}
	}
	return found
}
