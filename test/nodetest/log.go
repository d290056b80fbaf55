package nodetest

import (
	"encoding/json"
	"fmt"
	"strings"

	"refresher/test/program"
)

// entry has the fields of a log line that tests read. For a line that is not JSON, such as a
// line of a panic, all fields are empty.
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

// Await waits until the node has logged a message the given number of times since the last mark. The parameter
// `message` is the beginning of the message.
func (n *Node) Await(times int, message string) {
	n.t.Helper()
	if _, err := n.await(n.mark, times, message); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

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

// Logged returns the log lines that contain a text.
func (n *Node) Logged(text string) []string {
	var found []string
	for _, line := range n.log.Lines(0) {
		if strings.Contains(line.Text, text) {
			found = append(found, line.Text)
		}
	}
	return found
}

// Errors returns the log lines that report an internal failure of the service, and the lines
// that are not log entries, such as those of a panic.
func (n *Node) Errors() []string {
	var found []string
	for _, line := range n.log.Lines(0) {
		if e := parse(line); e.Level == "ERROR" || e.Level == "" {
			found = append(found, line.Text)
		}
	}
	return found
}
