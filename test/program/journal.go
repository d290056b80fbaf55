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

// Journal keeps the output of a program over all its runs. The zero Journal is empty and
// ready. It is safe for concurrent use.
type Journal struct {
	mu    sync.Mutex
	lines []Line        // guarded by mu
	more  chan struct{} // guarded by mu; the next line closes this channel; nil if no call of Await waits
}

// Line is one line of a program's output.
type Line struct {
	Read time.Time
	Text string // without its newline
}

// Len returns the number of lines.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// Lines returns the lines from the given index on.
func (j *Journal) Lines(from int) []Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[from:])
}

// Tail returns the last lines of the output, as many as given.
func (j *Journal) Tail(lines int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, line := range j.lines[max(0, len(j.lines)-lines):] {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// Await calls the function `found` with each line from the given index on, and with later lines when they come, until
// `found` returns true. It returns ErrEnded if the channel `ended` is closed and there is no further line. It returns
// another error after the time `patience`.
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
			last = true // read the log once more: the program may have written a line just before it ended
		case <-timeout.C:
			return fmt.Errorf("no such line within %v", patience)
		}
	}
}

func (j *Journal) copy(output io.Reader) {
	// A bufio.Scanner would give up on a long line. Then the pipe would fill up, and the
	// program would hang.
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

// after returns the lines from the given index on, and a channel that the next line closes.
func (j *Journal) after(n int) ([]Line, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return slices.Clone(j.lines[n:]), j.more
}
