package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/rotation"
)

// The page gets all paths that are not endpoints, behind the service's checks of Host and Origin, and
// may serve the service's metrics.
func TestPage(t *testing.T) {
	made := 0
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Page = func(metrics http.Handler) http.Handler {
			made++
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/figures" {
					metrics.ServeHTTP(w, r)
					return
				}
				_, _ = io.WriteString(w, "the page at "+r.URL.Path)
			})
		}
	})
	for _, path := range []string{"/", "/index.html", "/v1/nothing", "/demo/edge"} {
		if r, text := n.Do(http.MethodGet, path, ""); r.StatusCode != http.StatusOK || text != "the page at "+path {
			t.Errorf("%s: %d %s", path, r.StatusCode, text)
		}
	}
	if _, text := n.Do(http.MethodGet, "/ping", ""); !strings.Contains(text, "pong") {
		t.Errorf("an endpoint: %s", text)
	}
	_, figures := n.Do(http.MethodGet, "/figures", "")
	_, ops := n.Ops("/metrics")
	for _, name := range []string{"refresher_sessions{", "go_goroutines "} {
		if !strings.Contains(figures, "\n"+name) || !strings.Contains(ops, "\n"+name) {
			t.Errorf("%s is not among the metrics", name)
		}
	}
	if r, _ := n.Do(http.MethodGet, "/", "", "Host", "evil.example"); r.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for another host: %d", r.StatusCode)
	}
	if r, _ := n.Do(http.MethodPost, "/anything", "", "Origin", "https://evil.example"); r.StatusCode != http.StatusForbidden {
		t.Errorf("a change, from another origin: %d", r.StatusCode)
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

func TestNoPage(t *testing.T) {
	if r, text := apptest.StartNode(t, nil).Do(http.MethodGet, "/index.html", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}

// CertificateChanged is called with the fingerprint when another certificate signs, and not for other
// changes of the file.
func TestCertificateChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "certificates")
	write := func(certificates ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(certificates, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(apptest.Certificate)
	type change struct{ app, fingerprint string }
	changes := make(chan change, 10)
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Projects[0].CertificateFile = file
		c.CertificateChanged = func(app, fingerprint string) { changes <- change{app, fingerprint} }
	})
	current := func() (certificate string) {
		t.Helper()
		var report rotation.Report
		if _, text := n.Do(http.MethodGet, "/v1/certificates", ""); json.Unmarshal([]byte(text), &report) != nil || len(report.Certificates) == 0 {
			t.Fatalf("report: %s", text)
		}
		return report.Certificates[0].Fingerprint
	}
	before := current()
	write(apptest.Certificate, apptest.NextCertificate)
	n.Reloads <- os.Interrupt
	write(apptest.NextCertificate, apptest.Certificate)
	n.Reloads <- os.Interrupt
	select {
	case got := <-changes:
		if want := (change{apptest.AppID, current()}); got != want || got.fingerprint == before {
			t.Errorf("told of %v, want %v; before it was %s", got, want, before)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	n.Stop()
	if len(changes) > 0 {
		t.Errorf("told again: %v", <-changes)
	}
}
