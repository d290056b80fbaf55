package edge

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTranscript plays the transcript of the package documentation.
func TestTranscript(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hall := rtc("7", time.Hour)
		hall.parts[0].names[0] = "hall"
		audience := rtc("7", 200*time.Second)
		audience.parts[0].privileges = []uint32{1, 200}
		tokens := strings.NewReplacer(
			`"P60"`, `"`+rtc("7", time.Minute).token()+`"`,
			`"A200"`, `"`+audience.token()+`"`,
			`"P400"`, `"`+rtc("7", 400*time.Second).token()+`"`,
			`"HALL"`, `"`+hall.token()+`"`,
			`"M"`, `"`+login(2, "7", time.Hour).token()+`"`,
		)
		nc, end := connect(t, newEdge(t))
		defer end()
		reader := bufio.NewReader(nc)
		var lines int
		var waited time.Duration
		for line := range strings.Lines(string(source)) {
			line = strings.TrimSuffix(line, "\n")
			if said, ok := strings.CutPrefix(line, "//\t> "); ok {
				fmt.Fprintln(nc, tokens.Replace(said))
				lines++
			}
			if heard, ok := strings.CutPrefix(line, "//\t< "); ok {
				got, err := reader.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSuffix(got, "\n"); got != heard {
					t.Errorf("got  %s\nwant %s", got, heard)
				}
				if now := time.Since(start); now != waited {
					t.Errorf("%s came after %s, not %s", heard, now, waited)
				}
				lines++
			}
			if pause, ok := strings.CutPrefix(line, "//\t  … "); ok {
				var seconds int
				if _, err := fmt.Sscanf(pause, "%d s later", &seconds); err != nil {
					t.Fatal(err)
				}
				waited += time.Duration(seconds) * time.Second
			}
		}
		if lines != 19 {
			t.Errorf("played %d lines", lines)
		}
	})
}
