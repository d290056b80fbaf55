package credential

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFetch fetches key sets over real sockets, with the Verifier's own HTTP client. No error contains the query of the
// URL, which may be a secret.
func TestFetch(t *testing.T) {
	set := setOf("one", "other")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			if r.Method != http.MethodGet || r.URL.RawQuery != "hidden=1" || !strings.Contains(r.Header.Get("Accept"), "json") {
				t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
			}
			_, _ = w.Write([]byte(set))
		case "/huge":
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", maxKeySet) + `]}`))
		case "/created":
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(set))
		case "/moved":
			http.Redirect(w, r, "/good?hidden=1", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"keys":`))
		case "/page":
			_, _ = w.Write([]byte("<html>"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{
		"/good": "", "/huge": "more than 524288 bytes", "/created": "status 201", "/moved": "status 302",
		"/cut": "unexpected EOF", "/page": "not a key set", "/none": "status 404", "/away": "connection refused",
	} {
		address := server.URL
		if path == "/away" {
			address = "http://127.0.0.1:1"
		}
		v := newStand(t, one(Keys{JWKSURL: address + path + "?hidden=1"}))
		set, err := v.remotes[0].fetch(t.Context())
		v.client.CloseIdleConnections()
		switch {
		case want == "" && (err != nil || len(set.keys) != 2):
			t.Errorf("%+v, %v", set, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")):
			t.Errorf("%s: have %v, want %q", path, err, want)
		}
	}
}
