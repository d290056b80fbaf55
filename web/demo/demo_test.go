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

func TestPageAndAllThatItNamesAreServed(t *testing.T) {
	d := newDemo(t, nil)
	w := d.ask(t, http.MethodGet, "/")
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	names := regexp.MustCompile(`(?:src|href)="([^":#]+)"`).FindAllStringSubmatch(page, -1)
	if len(names) < 2 {
		t.Fatalf("the page names %v", names)
	}
	for _, name := range names {
		path := "/" + strings.TrimLeft(name[1], "./")
		if w := d.ask(t, http.MethodGet, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestWhatIsServedIsWhatIsInTheFolders(t *testing.T) {
	d := newDemo(t, nil)
	types := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
	for prefix, folder := range map[string]string{"/": ".", "/client/": "../client", "/client/bindings/": "../client/bindings"} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			path, contentType := prefix+entry.Name(), types[filepath.Ext(entry.Name())]
			w := d.ask(t, http.MethodGet, path)
			if contentType == "" || entry.IsDir() || strings.HasSuffix(path, ".test.js") {
				if w.Code != http.StatusNotFound {
					t.Errorf("%s: %d", path, w.Code)
				}
				continue
			}
			content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusOK || w.Body.String() != string(content) || w.Header().Get("Content-Type") != contentType {
				t.Errorf("%s: %d, %q, %d bytes", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
			}
		}
	}
	if w := d.ask(t, http.MethodGet, "/client/index.js"); w.Code != http.StatusOK {
		t.Errorf("the library: %d", w.Code)
	}
}

func TestFilesAreAskedForAgainAndNotSentAgain(t *testing.T) {
	d := newDemo(t, nil)
	tag := d.ask(t, http.MethodGet, "/").Header().Get("ETag")
	if tag == "" || tag == d.ask(t, http.MethodGet, "/client/index.js").Header().Get("ETag") {
		t.Errorf("tag %q", tag)
	}
	if w := d.ask(t, http.MethodGet, "/", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("the same: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := d.ask(t, http.MethodGet, "/", "If-None-Match", `"other"`); w.Code != http.StatusOK {
		t.Errorf("another: %d", w.Code)
	}
	if w := d.ask(t, http.MethodHead, "/"); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestFilesAreCompressedForWhoTakesThat(t *testing.T) {
	d := newDemo(t, nil)
	plain := d.ask(t, http.MethodGet, "/demo.css")
	for accepted, zipped := range map[string]bool{
		"gzip, deflate, br": true, "br;q=1.0, GZIP;q=0.5": true,
		"": false, "br": false, "gzip;q=0": false, "gzip; q=0.0, br": false, "gzip;q=x": false,
	} {
		w := d.ask(t, http.MethodGet, "/demo.css", "Accept-Encoding", accepted)
		h, body := w.Header(), io.Reader(w.Body)
		if (h.Get("Content-Encoding") == "gzip") != zipped || (h.Get("ETag") != plain.Header().Get("ETag")) != zipped || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accepted, h)
		}
		if zipped {
			if w.Body.Len() > plain.Body.Len()/2 {
				t.Errorf("%d bytes of %d", w.Body.Len(), plain.Body.Len())
			}
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
		"/demo.go", "/../demo.go", "/./demo.css", "//", "/nope", "/demo", "/demo/", "/demo/nope", "/client", "/client/", "/client/bindings", "/client/bindings/",
		"/client/package.json", "/client/client.go", "/client/../demo.css", "/client/node_modules/typescript/package.json", "",
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
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
			if strings.Contains(allow, method) {
				continue
			}
			if w := d.ask(t, method, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestWithoutThePage(t *testing.T) {
	d := newDemo(t, func(c *Config) { c.WithoutPage = true })
	for path, want := range map[string]int{
		"/": http.StatusNotFound, "/demo.js": http.StatusNotFound, "/demo/config.json": http.StatusNotFound, "/demo/metrics": http.StatusNotFound,
		"/demo/certificate": http.StatusNotFound, "/client/index.js": http.StatusOK, "/demo/edge": http.StatusUpgradeRequired,
	} {
		if w := d.ask(t, http.MethodGet, path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	atAgora := newDemo(t, func(c *Config) { c.Real, c.Edge = true, nil })
	for name, c := range map[string]struct {
		demo *Demo
		want map[string]string
	}{
		"stand-in": {newDemo(t, nil), map[string]string{
			"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
			"connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
			"require-trusted-types-for": "'script'",
		}},
		"real": {atAgora, map[string]string{
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
		"real":     {func(c *Config) { c.Real, c.Edge = true, nil }, map[string]any{"real": true, "canRotate": false}},
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

func TestRealDemoHasNoStandIn(t *testing.T) {
	d := newDemo(t, func(c *Config) { c.Real, c.Edge = true, nil })
	if w := d.ask(t, http.MethodGet, "/demo/edge"); w.Code != http.StatusNotFound {
		t.Errorf("edge: %d", w.Code)
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
