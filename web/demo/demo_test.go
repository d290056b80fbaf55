package demo

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Header(), w.Body.String()
}

func TestPageAndAllThatItNamesAreServed(t *testing.T) {
	status, header, page := get(t, http.MethodGet, "/")
	if status != http.StatusOK || !strings.Contains(header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", status, header)
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	names := regexp.MustCompile(`(?:src|href)="([^":]+)"`).FindAllStringSubmatch(page, -1)
	if len(names) < 2 {
		t.Fatalf("the page names %v", names)
	}
	for _, name := range names {
		if status, _, _ := get(t, http.MethodGet, "/"+name[1]); status != http.StatusOK {
			t.Errorf("%s: %d", name[1], status)
		}
	}
	if strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page names another host")
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, path := range []string{"/demo.go", "/../demo.go", "/nope"} {
		if status, _, _ := get(t, http.MethodGet, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, header, _ := get(t, http.MethodPost, "/"); status != http.StatusMethodNotAllowed || header.Get("Allow") == "" {
		t.Errorf("POST: %d", status)
	}
}
