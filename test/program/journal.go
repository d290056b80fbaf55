package program

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Journal keeps what a program says, over all its runs. The zero Journal is
// empty and ready. It is safe for concurrent use.
type Journal struct {
	mu    sync.Mutex
	lines []Line        // guarded by mu
	more  chan struct{} // guarded by mu; closed by the next line; nil while nobody waits
}

// Line is one line that a program said.
type Line struct {
	Read time.Time
	Text string // without its end
}

// Len is how many lines there are.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// Lines are those from the given one on.
func (j *Journal) Lines(from int) []Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[from:])
}

// Tail is the end of what was said, so many lines of it.
func (j *Journal) Tail(lines int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, line := range j.lines[max(0, len(j.lines)-lines):] {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// Await shows each line from the given one on to found, those to come too, until
// it is content. It gives up with ErrEnded when ended is closed and there is no
// other line, and with another error after patience.
func (j *Journal) Await(from int, ended <-chan struct{}, patience time.Duration, found func(Line) bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for last := false; ; {
		lines, more := j.after(from)
		from += len(lines)
		if slices.ContainsFunc(lines, found) {
			return nil
		}
		if last {
			return ErrEnded
		}
		select {
		case <-more:
		case <-ended:
			last = true // once more, for what it said at the end
		case <-timeout.C:
			return fmt.Errorf("no such line within %v", patience)
		}
	}
}

// copy takes in all that comes from a program, to its end.
func (j *Journal) copy(output io.Reader) {
	// Not a bufio.Scanner: it gives up on a long line, and the program would
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

func (j *Journal) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, Line{time.Now(), text})
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// after returns the lines from the given one on, and what the next one closes.
func (j *Journal) after(n int) ([]Line, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return slices.Clone(j.lines[n:]), j.more
}
