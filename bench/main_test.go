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

// childEnv is the environment variable that turns the test binary into a server process, so that the server is
// measured without its clients. Its value is a choice in JSON.
const childEnv = "REFRESHER_BENCH_CHILD"

// choice selects the server that a child process runs.
type choice struct {
	Name     string
	Refuse   bool   `json:",omitempty"` // the server refuses all clients
	Schedule bool   `json:",omitempty"` // the server pushes renewals on its own schedule
	Redis    string `json:",omitempty"` // host:port
	Count    int    `json:",omitempty"`
}

func (c choice) String() string {
	text, _ := json.Marshal(c) // the struct has JSON types only, so Marshal cannot fail
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

// announce prints the child's address for the parent. From then on it prints the child's memory whenever the parent
// requests it.
func announce(address string) {
	onRequest(func() string { return fmt.Sprint(memoryPrefix, used()) })
	fmt.Println(listening + address)
}

// onRequest calls the function `answer` and prints the line that it returns, each time the parent sends SIGUSR1.
func onRequest(answer func() string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			fmt.Println(answer())
		}
	}()
}

// size returns the number of repetitions: the number `full` in a measurement, and `short` in a run that only checks
// that everything works.
func size(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
