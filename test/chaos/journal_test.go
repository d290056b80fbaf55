package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// patience is how long anything that is waited for may take. Only a test that
// fails anyway waits so long.
const patience = 90 * time.Second

// tailLines is how much of a node's log a failed test shows.
const tailLines = 40

var errEnded = errors.New("the process has ended")

// journal keeps what a node logs, over all its runs, and wakes those who wait
// for a line. It is safe for concurrent use.
type journal struct {
	mu    sync.Mutex
	lines []entry       // guarded by mu
	more  chan struct{} // guarded by mu; closed by the next line
}

// entry is one line of the log: what tests look at, and all of it. A line that
// is no JSON, such as those of a panic, has its text alone.
type entry struct {
	Level      string `json:"level"`
	Message    string `json:"msg"`
	OpsAddress string `json:"ops_address"`

	text string
}

// copy takes in all that comes from a process, to its end.
func (j *journal) copy(output io.Reader) {
	// Not a bufio.Scanner: it gives up on a long line, and the process would
	// hang once nobody empties the pipe.
	reader := bufio.NewReader(output)
	for {
		text, err := reader.ReadString('\n')
		if text != "" {
			j.add(strings.TrimRight(text, "\n"))
		}
		if err != nil {
			return
		}
	}
}

func (j *journal) add(text string) {
	e := entry{text: text}
	if json.Unmarshal([]byte(text), &e) != nil {
		e = entry{text: text}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, e)
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// after returns the lines from the given one on, and what the next one closes.
func (j *journal) after(n int) ([]entry, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.lines[n:], j.more
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// await returns the line with which a message that begins like this was logged so
// many times, not counting the first lines. It gives up when ended is closed, or after patience.
func (j *journal) await(from, times int, message string, ended <-chan struct{}) (entry, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for seen, last := 0, false; ; {
		lines, more := j.after(from)
		from += len(lines)
		for _, line := range lines {
			if !strings.HasPrefix(line.Message, message) {
				continue
			}
			if seen++; seen >= times {
				return line, nil
			}
		}
		if last {
			return entry{}, fmt.Errorf("%w, and logged %q %d times of %d", errEnded, message, seen, times)
		}
		select {
		case <-more:
		case <-ended:
			last = true // once more, for what it logged at the end
		case <-timeout.C:
			return entry{}, fmt.Errorf("logged within %v %d times of %d: %q", patience, seen, times, message)
		}
	}
}

// errors returns the lines that report a failure of the service's own, and those
// that are no log at all, such as a panic's.
func (j *journal) errors() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for _, line := range j.lines {
		if line.Level == "ERROR" || line.Level == "" {
			found = append(found, line.text)
		}
	}
	return found
}

// text returns the log, or its end.
func (j *journal) text(lines int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, line := range j.lines[max(0, len(j.lines)-lines):] {
		b.WriteString(line.text + "\n")
	}
	return b.String()
}
