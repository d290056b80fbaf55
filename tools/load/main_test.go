package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"refresher/test/nodetest"
	"refresher/tools/load/generator"
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
	var c command
	if _, err := kong.Must(&c).Parse(flags); err != nil {
		return "", err
	}
	var out strings.Builder
	err = c.run(t.Context(), &out)
	return out.String(), err
}

func TestLoad(t *testing.T) {
	n := nodetest.New(t, "node", "--auth=jwt", "--min-ttl=4s", "--drain-window=0")
	n.Setenv("REFRESHER_JWT_SECRET=" + secret)
	n.Start()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, err := load(t, "--url=ws://"+n.Addr()+"/v1/ws", "--calls=60", "--join-rate=200", "--duration=6s", "--ttl=4s", "--drop-rate=5",
		"--ack-delay=100ms", "--services=rtc,rtm,chat", "--jwt-secret-file="+file, "--json")
	if err != nil || strings.Contains(stdout, secret) {
		t.Fatalf("%v: %s", err, stdout)
	}
	var last struct {
		End bool
		generator.Report
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if len(lines) < 5 || !last.End || last.Holding != 60 || last.Joins != 60 || last.Resumes == 0 || last.Resumes > last.Drops || last.Renewals < 60 ||
		last.RanOut != 0 || last.LostSeconds != 0 || last.Margin.Least <= 0 || last.Margin.Least > 4 {
		t.Errorf("%d lines, %+v", len(lines), last)
	}
}

// If nothing listens at the URL, the error says so.
func TestLoadOfNobody(t *testing.T) {
	stdout, err := load(t, "--url=ws://127.0.0.1:1/v1/ws", "--calls=3", "--duration=1s")
	if err == nil || !strings.Contains(err.Error(), "no connection was ever made") || !strings.Contains(err.Error(), "127.0.0.1:1: connect: connection refused") ||
		!strings.Contains(stdout, "0 joins") {
		t.Errorf("%v: %s", err, stdout)
	}
}

func TestVerdict(t *testing.T) {
	for want, change := range map[string]func(*generator.Report){
		"the tokens of calls expired 2 times, for 1.5 call-seconds": func(r *generator.Report) { r.RanOut, r.LostSeconds = 2, 1.5 },
		"seq fell 1 times": func(r *generator.Report) { r.SeqFell = 1 },
		"the service ended or refused 1 calls: unauthenticated 1": func(r *generator.Report) { r.Refused = 1 },
		"no connection was ever made: refused":                    func(r *generator.Report) { r.BytesIn, r.Dial = 0, "refused" },
		"no call was ever joined: unauthenticated 1":              func(r *generator.Report) { r.Joins = 0 },
		"2 of 6 calls never had tokens: unauthenticated 1":        func(r *generator.Report) { r.Without = 2 },
	} {
		r := generator.Report{Calls: 6, Joins: 6, BytesIn: 1, Errors: map[string]uint64{"unauthenticated": 1}}
		if err := verdict(r); err != nil {
			t.Error(err)
		}
		change(&r)
		if err := verdict(r); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestTextOutput(t *testing.T) {
	var out strings.Builder
	r := generator.Report{
		Seconds: 2, Calls: 6, Joins: 4, Holding: 4, RanOut: 1, LostSeconds: 1.5, Without: 2, Margin: generator.Spread{Count: 1, Least: 3},
		Errors: map[string]uint64{"b": 1, "a": 2}, Reconnects: map[string]uint64{"overload": 1},
	}
	var c command
	c.ticks(&out)(r)
	c.print(&out, r)
	for _, want := range []string{
		"holding tokens 4  joins/s 2 ", "  LOST TOKENS 1 times, 1.5 call-seconds; 2 NEVER HAD TOKENS; errors: a 2, b 1\n",
		"life left at renewal   least 3.00", "connect again: overload 1\n", "\nerrors: a 2, b 1\n", "2 calls never had any",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
}

func TestWrongFlagsNameThemselves(t *testing.T) {
	for want, flags := range map[string][]string{
		"--remote":     {"--url=ws://calls.example.com/v1/ws"},
		"are both set": {"--jwt-secret=" + secret, "--jwt-secret-file=main.go"},
	} {
		if _, err := load(t, flags...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}

// When one node is killed, the others must have file descriptors for all calls.
func TestNodesFor(t *testing.T) {
	for _, c := range []struct{ calls, files, nodes int }{{600, 1024 * 1024, 6}, {100_000, 1024 * 1024, 6}, {100_000, 20_000, 7}, {93_000, 20_000, 6}} {
		if nodes, note := nodesFor(c.calls, 6, c.files); nodes != c.nodes || (note == "") != (nodes == 6) {
			t.Errorf("%d calls with %d descriptors: %d nodes, %q; want %d", c.calls, c.files, nodes, note, c.nodes)
		}
	}
}
