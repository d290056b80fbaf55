package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
)

const loadSecret = "0123456789abcdef0123456789abcdef"

func TestLoad(t *testing.T) {
	t.Parallel()
	s := serve(t, command(t, append([]string{"REFRESHER_JWT_SECRET=" + loadSecret}, credentialsEnv...),
		"serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--min-ttl=4s", "--drain-window=0"))
	url := "--url=ws://" + s.addr + "/v1/ws"
	args := []string{"load", url, "--calls=60", "--join-rate=200", "--duration=6s", "--ttl=4s", "--drop-rate=5", "--ack-delay=100ms", "--services=rtc,rtm,chat"}
	stdout, stderr, code := run(t, []string{"REFRESHER_JWT_SECRET=" + loadSecret}, append(args, "--json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
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
	if strings.Contains(stdout+stderr, loadSecret) {
		t.Error("a secret was shown")
	}

	// Without a credential no call gets in.
	stdout, stderr, code = run(t, nil, "load", url, "--calls=3", "--duration=1s")
	if code == 0 || !strings.Contains(stderr, "unauthenticated") || !strings.Contains(stdout, "0 joins") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	s.stop(syscall.SIGTERM)
}

// A node that is full refuses the others, and most of the calls are not all of them.
func TestLoadFailsWhenCallsHaveNoTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--max-sessions=4"))
	stdout, stderr, code := run(t, nil, "load", "--url=ws://"+s.addr+"/v1/ws", "--calls=6", "--duration=1s")
	if code == 0 || !strings.Contains(stderr, "2 of 6 calls never had tokens") || !strings.Contains(stdout, "2 calls never had any") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	s.stop(syscall.SIGTERM)
}

// Where nothing listens it says so.
func TestLoadOfNobody(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := run(t, nil, "load", "--url=ws://127.0.0.1:1/v1/ws", "--calls=3", "--duration=1s")
	if code == 0 || !strings.Contains(stderr, "no connection was ever made") || !strings.Contains(stderr, "127.0.0.1:1: connect: connection refused") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// A service that stops, and does not come back, loses the calls their tokens.
func TestLoadFailsWhenTokensRunOut(t *testing.T) {
	t.Parallel()
	s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--min-ttl=4s"))
	load := command(t, nil, "load", "--url=ws://"+s.addr+"/v1/ws", "--calls=5", "--join-rate=100", "--duration=9s", "--ttl=4s")
	out, err := load.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load.Stderr = os.Stderr
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for all := false; !all && lines.Scan(); {
		all = strings.Contains(lines.Text(), "holding tokens 5")
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text() + "\n")
	}
	if err := load.Wait(); err == nil || load.ProcessState.ExitCode() != 1 || !strings.Contains(rest.String(), "tokens ran out 5 times") {
		t.Errorf("%v: %s", err, &rest)
	}
}

func TestLoadIsForThisMachine(t *testing.T) {
	for want, args := range map[string][]string{
		"--remote":  {"--url=ws://calls.example.com/v1/ws"},
		"calls: ":   {"--calls=1000000"},
		"duration:": {"--duration=48h"},
	} {
		if _, stderr, code := run(t, nil, append([]string{"load"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
}

func TestPlan(t *testing.T) {
	stdout, stderr, code := run(t, nil, "plan", "--sessions=1000000", "--node-memory=16GiB", "--services=rtc")
	if code != 0 || !strings.Contains(stdout, "1M, renewed 5m0s before the end") || !strings.Contains(stdout, "--join-rate=") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = run(t, nil, "plan", "--sessions=1000000", "--json")
	var p struct {
		Sessions int
		Nodes    struct{ Count int }
		Warnings []string
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || code != 0 || p.Sessions != 1_000_000 || p.Nodes.Count < 2 {
		t.Errorf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
	stdout, stderr, code = run(t, nil, "plan", "--sessions=3000", "--simulate", "--call-length=10m", "--without-leave=0.5")
	if code != 0 || !strings.Contains(stdout, "\nsimulated  ") || !strings.Contains(stdout, "9k besides") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for want, args := range map[string][]string{
		"--sessions":     {},
		"sessions: ":     {"--sessions=-1"},
		"--node-memory":  {"--sessions=1", "--node-memory=8"},
		"ttl: ":          {"--sessions=1", "--ttl=100ms"},
		"redis-masters:": {"--sessions=1", "--redis-masters=65"},
	} {
		if _, stderr, code := run(t, nil, append([]string{"plan"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
}
