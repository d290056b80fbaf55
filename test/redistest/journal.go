package redistest

import (
	"fmt"
	"regexp"
	"time"

	"refresher/test/program"
)

// patience is the longest time that a server may take for anything. Only a failing test waits
// for so long.
const patience = 30 * time.Second

const tailLines = 40

// awaitLines returns when the log has, since the given time, lines that match the patterns, in
// their order but not necessarily adjacent. It gives up when the channel `ended` is closed, or after the time
// `patience`.
func awaitLines(log *program.Journal, since time.Time, ended <-chan struct{}, patterns ...string) error {
	wanted := regexp.MustCompile(patterns[0])
	err := log.Await(0, ended, patience, func(line program.Line) bool {
		if line.Read.Before(since) || !wanted.MatchString(line.Text) {
			return false
		}
		if patterns = patterns[1:]; len(patterns) > 0 {
			wanted = regexp.MustCompile(patterns[0])
		}
		return len(patterns) == 0
	})
	if err != nil {
		return fmt.Errorf("wait for %q: %w", patterns[0], err)
	}
	return nil
}
