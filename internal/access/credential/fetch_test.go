package credential

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFetch fetches key sets over real sockets, with the Verifier's own HTTP client.
func TestFetch(t *testing.T) {
	set := setOf("one", "other")
	var redirected bool
	paths := http.NewServeMux()
	paths.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.RawQuery != "hidden=1" || !strings.Contains(r.Header.Get("Accept"), "json") {
			t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
		}
		_, _ = w.Write([]byte(set))
	})
	paths.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[`))
		_, _ = w.Write([]byte(strings.Repeat(" ", maxKeySet)))
		_, _ = w.Write([]byte(`]}`))
	})
	paths.HandleFunc("/away", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	paths.HandleFunc("/created", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(set))
	})
	paths.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	paths.HandleFunc("/elsewhere", func(w http.ResponseWriter, _ *http.Request) {
		redirected = true
		_, _ = w.Write([]byte(set))
	})
	paths.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"keys":`))
	})
	paths.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	server := httptest.NewServer(paths)
	t.Cleanup(server.Close)

	fetch := func(path string) (*keySet, error) {
		v := newStand(t, one(Keys{JWKSURL: server.URL + path + "?hidden=1"}))
		t.Cleanup(v.client.CloseIdleConnections)
		return v.remotes[0].fetch(t.Context())
	}
	for path, want := range map[string]string{
		"/good": "", "/huge": "more than 524288 bytes", "/away": "status 502", "/created": "status 201",
		"/moved": "status 302", "/cut": "unexpected EOF", "/page": "no key set", "/none": "status 404",
	} {
		t.Run(path, func(t *testing.T) {
			set, err := fetch(path)
			switch {
			case want == "":
				if err != nil || len(set.keys) != 2 {
					t.Errorf("%+v, %v", set, err)
				}
			case err == nil || !strings.Contains(err.Error(), want):
				t.Errorf("have %v, want %q", err, want)
			case strings.Contains(err.Error(), "hidden"):
				t.Errorf("the error has the query: %v", err)
			}
		})
	}
	if redirected {
		t.Error("a redirect was followed")
	}
	server.Close()
	if _, err := fetch("/good"); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("have %v", err)
	}
}

// Run fetches the key set from a real server; Verify waits for the first fetch.
func TestVerifyWithServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(setOf("one")))
	}))
	t.Cleanup(server.Close)
	s := newStand(t, one(Keys{JWKSURL: server.URL}))
	ctx, cancel := context.WithCancel(t.Context())
	r := s.remotes[0]
	if !r.refresh(ctx) {
		t.Fatal("not fetched")
	}
	s.takes(t, byKid("one"))
	cancel()
	s.Run(ctx)
}
