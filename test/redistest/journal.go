package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// patience is how long a server may take for anything. It is generous, because
// only a test that fails anyway ever waits so long.
const patience = 30 * time.Second

// tailLines is how much of a log a failed test shows.
const tailLines = 40

// errEnded says that a server ended before it logged what was waited for.
var errEnded = errors.New("the server has ended")

// journal keeps what a server logs, over all its restarts, and wakes those who
// wait for a line.
type journal struct {
	mu    sync.Mutex
	lines []entry
	more  chan struct{} // closed by the next line; nil while nobody waits
}

type entry struct {
	read time.Time
	text string
}

// copy takes in all that comes from a server's output, to its end.
func (j *journal) copy(output io.Reader) {
	// Not a bufio.Scanner: it gives up on a long line, and the server would
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
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, entry{time.Now(), text})
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

// await returns when lines that match the patterns were logged since then, in
// their order, with any others between. It gives up when ended is closed, or
// after patience.
func (j *journal) await(since time.Time, ended <-chan struct{}, patterns ...string) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	seen, last := 0, false
	for wanted := regexp.MustCompile(patterns[0]); ; {
		lines, more := j.after(seen)
		seen += len(lines)
		for _, line := range lines {
			if line.read.Before(since) || !wanted.MatchString(line.text) {
				continue
			}
			patterns = patterns[1:]
			if len(patterns) == 0 {
				return nil
			}
			wanted = regexp.MustCompile(patterns[0])
		}
		if last {
			return fmt.Errorf("%w, and never logged %q", errEnded, patterns[0])
		}
		select {
		case <-more:
		case <-ended:
			last = true // once more, for what it logged at the end
		case <-timeout.C:
			return fmt.Errorf("not logged within %v: %q", patience, patterns[0])
		}
	}
}

// tail returns the end of the log.
func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, line := range j.lines[max(0, len(j.lines)-tailLines):] {
		b.WriteString(line.text + "\n")
	}
	return b.String()
}
