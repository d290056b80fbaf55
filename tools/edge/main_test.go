package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"refresher/web/demo/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environment(key string) string {
	return map[string]string{
		"AGORA_APP_ID":          "970CA35de60c44645bbae8a215061b33",
		"AGORA_APP_CERTIFICATE": "5CFd2fd1755d40ecb72977518be15d3b",
	}[key]
}

func TestRun(t *testing.T) {
	out, stdout := io.Pipe()
	signals := make(chan os.Signal, 1)
	exit := make(chan int, 1)
	go func() {
		defer stdout.Close()
		exit <- run([]string{"--listen", "127.0.0.1:0"}, environment, signals, stdout, io.Discard)
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it prints nothing")
	}
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(lines.Text())
	if address == nil {
		t.Fatalf("first line: %s", lines.Text())
	}
	client, err := net.Dial("tcp", address[1])
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// The token is one of Agora's test vectors: it is valid, but expired in 1970.
	const old = "007eJxSYBBbsMMnKq7p9Hf/HcIX5kce9b518kCiQgSr5Zrp4X1Tu6UUGCzNDZwdjU1TUs0Mkk1MzExMk5ISUy0SjQxNDcwMk4yN3b8IMEQwMTAwMoAwBIL4CgzmKeZGxmamqUmWFsYmFqbGluapxqnGaZYpJmYGSSkpiVwMRhYWRsYmhkbmxoAAAAD//8JqJOM="
	fmt.Fprintln(client, `{"op":"join","leg":"rtc","channel":"7d72365eb983485397e3e3f9d460bdda","user":"2882341273","token":"`+old+`","id":1}`)
	if !lines.Scan() || !strings.Contains(lines.Text(), `msg="join refused"`) || !strings.Contains(lines.Text(), "code=109") {
		t.Errorf("second line: %s", lines.Text())
	}
	answer, err := bufio.NewReader(client).ReadString('\n')
	want := `{"id":1,"ok":false,"code":109,"error":"ERR_TOKEN_EXPIRED: the token expired at Unix second 1111711"}` + "\n"
	if err != nil || answer != want {
		t.Errorf("answer %s, %v", answer, err)
	}
	signals <- syscall.SIGTERM
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	var record edge.Record
	if err := json.Unmarshal([]byte(last), &record); err != nil || record.Total.JoinsRefused != 1 {
		t.Errorf("last line %s: %v", last, err)
	}
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := func(string) string { return "" }
	for _, c := range []struct {
		name   string
		args   []string
		getenv func(string) string
		code   int
		says   string
	}{
		{"no app", nil, empty, 2, "App ID"},
		{"no certificate", []string{"--app-id", "970CA35de60c44645bbae8a215061b33"}, empty, 2, "App Certificate"},
		{"unknown flag", []string{"--nope"}, environment, 2, "nope"},
		{"argument", []string{"nope"}, environment, 2, "nope"},
		{"address taken", []string{"--listen", taken.Addr().String()}, environment, 1, "listen"},
		{"help", []string{"--help"}, environment, 0, "--listen"[1:]},
	} {
		var stderr strings.Builder
		if code := run(c.args, c.getenv, nil, io.Discard, &stderr); code != c.code || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%s: exit code %d, %s", c.name, code, stderr.String())
		}
		if strings.Contains(stderr.String(), environment("AGORA_APP_CERTIFICATE")) {
			t.Errorf("%s: prints the certificate", c.name)
		}
	}
}
