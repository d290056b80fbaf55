package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLocal(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9090": "127.0.0.1:9090", ":9090": "127.0.0.1:9090", "0.0.0.0:9090": "127.0.0.1:9090",
		"[::]:9090": "[::1]:9090", "10.0.0.7:9090": "10.0.0.7:9090",
	} {
		if got, err := local(listen); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", listen, got, err, want)
		}
	}
}

func TestHealth(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			http.Error(w, "draining", http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer slow.Close()
	defer close(hang)
	at := func(s *httptest.Server) address { return address(strings.TrimPrefix(s.URL, "http://")) }
	for _, c := range []struct {
		command healthCommand
		want    string // part of the error; empty if there must be none
	}{
		{healthCommand{OpsListen: at(s), Timeout: time.Minute}, ""},
		{healthCommand{OpsListen: at(s), Timeout: time.Minute, Ready: true}, "/readyz answers 503: draining"},
		{healthCommand{OpsListen: at(slow), Timeout: 10 * time.Millisecond}, "does not answer"},
		{healthCommand{OpsListen: "nonsense", Timeout: time.Minute}, "want host:port"},
	} {
		err := c.command.Run()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.command, err, c.want)
		}
	}
}
