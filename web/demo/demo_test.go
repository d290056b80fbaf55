package demo

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFilesThatAreServed(t *testing.T) {
	d := newDemo(t, nil)
	page := d.ask(t, http.MethodGet, "/")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := page.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	names := regexp.MustCompile(`(?:src|href)="([^":#]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	if len(names) < 2 {
		t.Fatalf("the page names %v", names)
	}
	for _, name := range names {
		path := "/" + strings.TrimLeft(name[1], "./")
		if w := d.ask(t, http.MethodGet, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for path, folder := range map[string]string{"/demo.js": ".", "/demo.css": ".", "/client/index.js": "../client"} {
		content, err := os.ReadFile(filepath.Join(folder, filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		w := d.ask(t, http.MethodGet, path)
		if w.Code != http.StatusOK || w.Body.String() != string(content) || w.Header().Get("Content-Type") != contentTypes[filepath.Ext(path)] {
			t.Errorf("%s: %d, %q, %d bytes", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
	}
}

func TestFilesAreRevalidated(t *testing.T) {
	d := newDemo(t, nil)
	tag := d.ask(t, http.MethodGet, "/").Header().Get("ETag")
	if tag == "" || tag == d.ask(t, http.MethodGet, "/client/index.js").Header().Get("ETag") {
		t.Errorf("tag %q", tag)
	}
	if w := d.ask(t, http.MethodGet, "/", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("the same: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestCompression(t *testing.T) {
	d := newDemo(t, nil)
	plain := d.ask(t, http.MethodGet, "/demo.css")
	for accepted, zipped := range map[string]bool{
		"br;q=1.0, GZIP;q=0.5": true, "": false, "br": false, "gzip; q=0.0, br": false, "gzip;q=x": false,
	} {
		w := d.ask(t, http.MethodGet, "/demo.css", "Accept-Encoding", accepted)
		h := w.Header()
		if (h.Get("Content-Encoding") == "gzip") != zipped || (h.Get("ETag") != plain.Header().Get("ETag")) != zipped || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accepted, h)
		}
		body := io.Reader(w.Body)
		if zipped {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := io.ReadAll(body); err != nil || string(text) != plain.Body.String() {
			t.Errorf("%q: %d bytes, %v", accepted, len(text), err)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	d := newDemo(t, nil)
	for _, path := range []string{
		"/demo.go", "/../demo.go", "//", "/nope", "/demo", "/demo/", "/demo/nope", "/client", "/client/", "/client/package.json", "/client/client.test.js", "/client/../demo.css", "",
	} {
		w := d.ask(t, http.MethodGet, path)
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"status":404`) || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for path, allow := range map[string]string{
		"/": "GET, HEAD", "/client/index.js": "GET, HEAD", "/demo/config.json": "GET, HEAD", "/demo/metrics": "GET, HEAD",
		"/demo/edge": "GET, HEAD", "/demo/certificate": "POST",
	} {
		if w := d.ask(t, http.MethodPut, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow {
			t.Errorf("%s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
}

// The configuration says which of the page, the browser library and the simulated edge are served.
func TestParts(t *testing.T) {
	for name, c := range map[string]struct {
		demo                *Demo
		page, library, edge int
	}{
		"stand-in":         {newDemo(t, nil), http.StatusOK, http.StatusOK, http.StatusUpgradeRequired},
		"real":             {newDemo(t, atAgora), http.StatusOK, http.StatusOK, http.StatusNotFound},
		"without the page": {newDemo(t, func(c *Config) { c.WithoutPage = true }), http.StatusNotFound, http.StatusOK, http.StatusUpgradeRequired},
	} {
		for path, want := range map[string]int{
			"/": c.page, "/demo.js": c.page, "/demo/config.json": c.page, "/demo/metrics": c.page, "/client/index.js": c.library, "/demo/edge": c.edge,
		} {
			if w := c.demo.ask(t, http.MethodGet, path); w.Code != want {
				t.Errorf("%s: %s: %d, want %d", name, path, w.Code, want)
			}
		}
	}
}

func TestPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		demo *Demo
		want map[string]string
	}{
		"stand-in": {newDemo(t, nil), map[string]string{
			"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
			"connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
			"require-trusted-types-for": "'script'",
		}},
		"real": {newDemo(t, atAgora), map[string]string{
			"default-src": "'none'", "script-src": "'self' https://download.agora.io 'wasm-unsafe-eval'",
			"worker-src": "'self' blob:", "style-src-attr": "'unsafe-inline'", "style-src": "'self'", "img-src": "'self' data:",
			"connect-src": "'self' https://*.agora.io:* wss://*.agora.io:* https://*.sd-rtn.com:* wss://*.sd-rtn.com:* " +
				"https://*.rtnsvc.com:* wss://*.rtnsvc.com:* https://*.rtesvc.com:* wss://*.rtesvc.com:*",
			"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
		}},
	} {
		got := make(map[string]string)
		for directive := range strings.SplitSeq(c.demo.ask(t, http.MethodGet, "/").Header().Get("Content-Security-Policy"), "; ") {
			directiveName, sources, _ := strings.Cut(directive, " ")
			if _, twice := got[directiveName]; twice {
				t.Errorf("%s: %s stands there twice", name, directiveName)
			}
			got[directiveName] = sources
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestConfigForThePage(t *testing.T) {
	sign := func(context.Context, []string) (string, error) { return "", nil }
	for name, c := range map[string]struct {
		change func(*Config)
		want   map[string]any
	}{
		"made up":  {func(c *Config) { c.Certificate, c.Sign = testCert, sign }, map[string]any{"real": false, "canRotate": true}},
		"stand-in": {nil, map[string]any{"real": false, "canRotate": false}},
		"real":     {atAgora, map[string]any{"real": true, "canRotate": false}},
	} {
		w := newDemo(t, c.change).ask(t, http.MethodGet, "/demo/config.json")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
		if strings.Contains(strings.ToLower(w.Body.String()), strings.ToLower(testCert)) {
			t.Errorf("%s: the certificate is in it", name)
		}
		c.want["appId"], c.want["version"], c.want["warnBefore"] = testApp, "v1.2.3", 6.0
		c.want["ttl"], c.want["minTtl"], c.want["maxTtl"] = 30.0, 10.0, 3600.0
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestMetricsAreTheServices(t *testing.T) {
	if w := newDemo(t, nil).ask(t, http.MethodGet, "/demo/metrics"); w.Code != http.StatusOK || w.Body.String() != "refresher_sessions 2\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWrongConfig(t *testing.T) {
	sign := func(context.Context, []string) (string, error) { return "", nil }
	for name, wrong := range map[string]func(*Config){
		"no app":                     func(c *Config) { c.AppID = "" },
		"no logger":                  func(c *Config) { c.Logger = nil },
		"no ttl":                     func(c *Config) { c.TTL = 0 },
		"no warning":                 func(c *Config) { c.WarnBefore = time.Millisecond },
		"fewer than no edges":        func(c *Config) { c.MaxEdges = -1 },
		"less than no grace":         func(c *Config) { c.Grace = -1 },
		"held nowhere":               func(c *Config) { c.Edge = nil },
		"neither page nor edge":      func(c *Config) { c.WithoutPage, c.Real, c.Edge = true, true, nil },
		"held twice":                 func(c *Config) { c.Real = true },
		"nothing to replace":         func(c *Config) { c.Sign = sign },
		"nobody to sign":             func(c *Config) { c.Certificate = testCert },
		"replaced, and held by them": func(c *Config) { c.Certificate, c.Sign, c.Real, c.Edge = testCert, sign, true, nil },
	} {
		c := Config{AppID: testApp, TTL: time.Minute, MinTTL: time.Second, MaxTTL: time.Hour, WarnBefore: time.Second, Edge: newEdge(t), Logger: quiet}
		wrong(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
