//go:build linux

package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

var (
	rounds    = flag.Int("rounds", 1, "how often everything is measured; the table has medians")
	profiles  = flag.String("profiles", "", "a folder for a profile of refresher during each operation; its figures are worth less then")
	tableFile = flag.String("table", "", "a Markdown file to put the table into, between its markers")
)

// childEnv is an environment variable with which the test binary runs as a server, so that a server is measured without
// its clients. The value is a choice, in JSON.
const childEnv = "REFRESHER_BENCH_CHILD"

// choice says which server a child process runs.
type choice struct {
	Name     string
	Refuse   bool   `json:",omitempty"` // whether the server refuses its clients, to measure the cost of a refusal
	Schedule bool   `json:",omitempty"` // whether the server pushes renewals on refresher's schedule
	Redis    string `json:",omitempty"` // host:port
	Count    int    `json:",omitempty"`
}

func (c choice) String() string {
	text, _ := json.Marshal(c) // Marshal cannot fail for this struct
	return string(text)
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		var c choice
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			err = children[c.Name](c)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := choosePins(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// announce prints the address of the child, which the parent reads. From then on the child prints its memory whenever
// the parent sends SIGUSR1.
func announce(address string) {
	onRequest(func() string { return fmt.Sprint(memoryPrefix, used()) })
	fmt.Println(listening + address)
}

// onRequest prints what the function `answer` returns, each time the parent sends SIGUSR1.
func onRequest(answer func() string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			fmt.Println(answer())
		}
	}()
}

// size returns a number of repetitions: `full` for a measurement, `short` for a run that only checks that everything
// works.
func size(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
