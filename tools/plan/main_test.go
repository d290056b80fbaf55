package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func plan(t *testing.T, flags ...string) (stdout string, err error) {
	t.Helper()
	var c command
	if _, err := kong.Must(&c).Parse(flags); err != nil {
		return "", err
	}
	var out strings.Builder
	err = c.run(&out)
	return out.String(), err
}

func TestPlan(t *testing.T) {
	stdout, err := plan(t, "--sessions=1000000", "--node-memory=16GiB", "--services=rtc")
	if err != nil || !strings.Contains(stdout, "1M, renewed 5m0s before the end") || !strings.Contains(stdout, "--join-rate=") {
		t.Errorf("%v: %s", err, stdout)
	}
	stdout, err = plan(t, "--sessions=1000000", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Sessions int
		Nodes    struct{ Count int }
		Warnings []string
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || p.Sessions != 1_000_000 || p.Nodes.Count < 2 {
		t.Errorf("%v: %s", err, stdout)
	}
	stdout, err = plan(t, "--sessions=3000", "--simulate", "--call-length=10m", "--without-leave=0.5")
	if err != nil || !strings.Contains(stdout, "\nsimulated  ") || !strings.Contains(stdout, "9k besides") {
		t.Errorf("%v: %s", err, stdout)
	}
}

func TestWrongFlagsNameThemselves(t *testing.T) {
	for want, flags := range map[string][]string{
		"--sessions":     {},
		"sessions: ":     {"--sessions=-1"},
		"--node-memory":  {"--sessions=1", "--node-memory=8"},
		"ttl: ":          {"--sessions=1", "--ttl=100ms"},
		"redis-masters:": {"--sessions=1", "--redis-masters=65"},
	} {
		if _, err := plan(t, flags...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}
