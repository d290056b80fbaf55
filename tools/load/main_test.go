package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"refresher/test/nodetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(loadEnv) != "" {
		main()
		return
	}
	nodetest.Main(m)
}

const secret = "0123456789abcdef0123456789abcdef"

// load runs the command with flags.
func load(t *testing.T, flags ...string) (stdout string, err error) {
	t.Helper()
	var out strings.Builder
	err = loadTo(t, &out, flags...)
	return out.String(), err
}

func loadTo(t *testing.T, out io.Writer, flags ...string) error {
	t.Helper()
	var c command
	if _, err := kong.Must(&c).Parse(flags); err != nil {
		return err
	}
	return c.run(t.Context(), out)
}

// serve starts a node.
func serve(t *testing.T, flags ...string) (n *nodetest.Node, url string) {
	t.Helper()
	n = nodetest.New(t, "node", append(flags, "--drain-window=0")...)
	n.Setenv("REFRESHER_JWT_SECRET=" + secret)
	n.Start()
	return n, "--url=ws://" + n.Addr() + "/v1/ws"
}

func TestLoad(t *testing.T) {
	t.Parallel()
	n, url := serve(t, "--auth=jwt", "--min-ttl=4s")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, err := load(t, url, "--calls=60", "--join-rate=200", "--duration=6s", "--ttl=4s", "--drop-rate=5", "--ack-delay=100ms", "--services=rtc,rtm,chat", "--jwt-secret-file="+file, "--json")
	if err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	type report struct {
		End                                      bool
		Seconds                                  float64
		Holding, Joins, Resumes, Renewals, Drops int
		RanOut                                   int                     `json:"ran_out"`
		Lost                                     float64                 `json:"call_seconds_lost"`
		Margin                                   struct{ Least float64 } `json:"margin_seconds"`
	}
	var last report
	lines := 0
	for all := bufio.NewScanner(strings.NewReader(stdout)); all.Scan(); lines++ {
		if err := json.Unmarshal(all.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if lines < 5 || !last.End || last.Holding != 60 || last.Joins != 60 || last.Resumes == 0 || last.Resumes > last.Drops || last.Renewals < 60 ||
		last.RanOut != 0 || last.Lost != 0 || last.Margin.Least <= 0 || last.Margin.Least > 4 {
		t.Errorf("%d lines, %+v", lines, last)
	}
	if strings.Contains(stdout, secret) {
		t.Error("a secret was shown")
	}

	// Without a credential no call gets in.
	stdout, err = load(t, url, "--calls=3", "--duration=1s")
	if err == nil || !strings.Contains(err.Error(), "unauthenticated") || !strings.Contains(stdout, "0 joins") {
		t.Errorf("%v: %s", err, stdout)
	}
	n.Stop()
}

// If a full node refuses some calls, the command fails, even if most calls were admitted.
func TestLoadFailsWhenCallsHaveNoTokens(t *testing.T) {
	t.Parallel()
	n, url := serve(t, "--max-sessions=4")
	stdout, err := load(t, url, "--calls=6", "--duration=1s")
	if err == nil || !strings.Contains(err.Error(), "2 of 6 calls never had tokens") || !strings.Contains(stdout, "2 calls never had any") {
		t.Errorf("%v: %s", err, stdout)
	}
	n.Stop()
}

// If no process listens at the URL, the error says so.
func TestLoadOfNobody(t *testing.T) {
	t.Parallel()
	stdout, err := load(t, "--url=ws://127.0.0.1:1/v1/ws", "--calls=3", "--duration=1s")
	if err == nil || !strings.Contains(err.Error(), "no connection was ever made") || !strings.Contains(err.Error(), "127.0.0.1:1: connect: connection refused") {
		t.Errorf("%v: %s", err, stdout)
	}
}

// If the service stops for good, the calls lose their tokens and the command fails.
func TestLoadFailsWhenTokensRunOut(t *testing.T) {
	t.Parallel()
	n, url := serve(t, "--min-ttl=4s")
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		defer in.Close()
		ended <- loadTo(t, in, url, "--calls=5", "--join-rate=100", "--duration=9s", "--ttl=4s")
	}()
	lines := bufio.NewScanner(out)
	for all := false; !all && lines.Scan(); {
		all = strings.Contains(lines.Text(), "holding tokens 5")
	}
	n.Kill()
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text() + "\n")
	}
	if err := <-ended; err == nil || !strings.Contains(rest.String(), "tokens ran out 5 times") {
		t.Errorf("%v: %s", err, &rest)
	}
}

func TestLoadIsForThisMachine(t *testing.T) {
	for want, flags := range map[string][]string{
		"--remote":     {"--url=ws://calls.example.com/v1/ws"},
		"calls: ":      {"--calls=1000000"},
		"duration:":    {"--duration=48h"},
		"are both set": {"--jwt-secret=" + secret, "--jwt-secret-file=main.go"},
	} {
		if _, err := load(t, flags...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}

// The nodes that remain when one is killed have descriptors for all calls.
func TestNodesFor(t *testing.T) {
	for _, c := range []struct{ calls, files, nodes int }{{600, 1024 * 1024, 6}, {100_000, 1024 * 1024, 6}, {100_000, 20_000, 7}, {93_000, 20_000, 6}} {
		if nodes, note := nodesFor(c.calls, 6, c.files); nodes != c.nodes || (note == "") != (nodes == 6) {
			t.Errorf("%d calls with %d descriptors: %d nodes, %q; want %d", c.calls, c.files, nodes, note, c.nodes)
		}
	}
}
