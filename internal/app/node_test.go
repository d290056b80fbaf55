package app_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestDrainOnASignal(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.DrainWindow = 100 * time.Millisecond })
	s := n.Dial() // the public port opens only when the node is ready, so the node is ready after this line
	ready := func() [2]int {
		private, _ := n.Ops("/readyz")
		public, _ := n.Do(http.MethodGet, "/", "")
		return [2]int{private.StatusCode, public.StatusCode}
	}
	if got := ready(); got != [2]int{200, 200} {
		t.Errorf("ready: %v", got)
	}
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	go n.Stop()
	if m := s.Expect(protocol.TypeReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	if got := ready(); got != [2]int{503, 503} {
		t.Errorf("ready while draining: %v", got)
	}
	s.Closed(protocol.CloseDrain)
	n.Stop()

	// The next process restores the session from its resume key alone.
	next := apptest.StartNode(t, nil).Dial()
	next.Send(apptest.ResumeText(joined, 1))
	if m := next.Expect(protocol.TypeJoined); m.Session != joined.Session || m.Seq != 2 {
		t.Errorf("resumed %+v", m)
	}
}

// The log of each start says whether the node checks credentials. It warns if the node does not, on a port that other
// machines can reach.
func TestStartSaysWhichAuthIsOn(t *testing.T) {
	for _, c := range []struct {
		auth     string
		insecure bool
		warns    bool
	}{{"jwt", false, false}, {"none", false, false}, {"none", true, true}} {
		synctest.Test(t, func(t *testing.T) {
			n := apptest.NewLoggedNode(t, func(config *app.Config) {
				apptest.WithCredentials(config)
				config.Auth, config.Insecure = c.auth, c.insecure
			})
			synctest.Wait()
			log := n.Log.Take()
			if warns := strings.Contains(log, "--auth=none with --insecure"); !strings.Contains(log, "auth="+c.auth) || warns != c.warns {
				t.Errorf("auth %s, insecure %v: want the auth, and a warning: %v\n%s", c.auth, c.insecure, c.warns, log)
			}
		})
	}
}

// A hanging request to the operations port, such as a long profile, delays the end of the process.
// It does not delay the release of the node's lease, so another node takes over the sessions
// meanwhile.
func TestLeaseIsGivenUpWhileARequestToTheOpsPortHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewOpenCluster(t, 1)
		hanging, err := s.Network.Dial(t.Context(), "tcp", s.Nodes[0].App.OpsAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer hanging.Close()
		if _, err := hanging.Write([]byte("GET /metrics HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.Nodes[0].Stop()
		}()
		time.Sleep(3 * time.Second) // bubble; less than the 5 s after which http.Server.Shutdown closes a connection that has sent no request
		select {
		case <-stopped:
			t.Error("the request does not hang")
		default:
		}
		if nodes, err := s.Memory.Statuses(t.Context(), "any"); err != nil || len(nodes) != 0 {
			t.Errorf("it has its lease: %v, %v", nodes, err)
		}
		<-stopped
	})
}

func TestEventsReachTheBackEnd(t *testing.T) {
	events := make(chan string, 10)
	backEnd := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		events <- r.Header.Get("Webhook-Id")
	}))
	defer backEnd.Close()
	n := apptest.StartNode(t, func(c *app.Config) { c.Events.URL, c.Events.Secret = backEnd.URL, apptest.HookSecret })
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	s.Send(`{"type":"leave"}`)
	for _, want := range []string{joined.Session + "-joined", joined.Session + "-ended"} {
		if got := <-events; got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
}

func TestPageServesMetrics(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.Page = func(metrics http.Handler) http.Handler { return metrics } })
	if r, text := n.Do(http.MethodGet, "/figures", ""); r.StatusCode != http.StatusOK || !strings.Contains(text, "\nrefresher_sessions{") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}

// CertificateChanged is called when another certificate begins to sign, and not for other changes of the file.
func TestCertificateChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "certificates")
	write := func(certificates ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(certificates, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(apptest.Certificate)
	changes := make(chan string, 10)
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Projects[0].CertificateFile = file
		c.CertificateChanged = func(app, fingerprint string) { changes <- app + " " + fingerprint }
	})
	write(apptest.Certificate, apptest.NextCertificate)
	n.Reloads <- os.Interrupt
	write(apptest.NextCertificate, apptest.Certificate)
	n.Reloads <- os.Interrupt
	got := <-changes
	if _, report := n.Do(http.MethodGet, "/v1/certificates", ""); !strings.HasPrefix(report, `{"certificates":[{"fingerprint":"`+strings.TrimPrefix(got, apptest.AppID+" ")+`"`) {
		t.Errorf("changed to %s; the report is %s", got, report)
	}
	n.Stop()
	if len(changes) > 0 {
		t.Errorf("changed again to %s", <-changes)
	}
}

// Each package's error about a setting names the flag.
func TestRefusedSettings(t *testing.T) {
	const secret = "a secret of many more bytes"
	for want, change := range map[string]func(*app.Config){
		"drain-window: ":     func(c *app.Config) { c.DrainWindow = -1 },
		"idle-timeout: ":     func(c *app.Config) { c.IdleTimeout = 0 },
		"max-sessions: ":     func(c *app.Config) { c.MaxSessions = -1 },
		"listen: ":           func(c *app.Config) { c.Listen = "nonsense" },
		"listen: listen tcp": func(c *app.Config) { c.Listen, c.Auth, c.Insecure = "256.0.0.1:0", "none", true },
		"ops-listen: ":       func(c *app.Config) { c.OpsListen = "256.0.0.1:0" },
		"tls-cert-file, ":    func(c *app.Config) { c.TLSCertFile = "cert.pem" },
		"auth: none on":      func(c *app.Config) { c.Listen = "0.0.0.0:0" },
		"auth: want":         func(c *app.Config) { c.Auth = "ldap" },
		"trusted-proxies: ":  func(c *app.Config) { c.TrustedProxies = []string{"everybody"} },
		"app-id: 1 ":         func(c *app.Config) { c.Projects[0].AppID = "x" },
		"token-ttl: ":        func(c *app.Config) { c.Policy.TTL = time.Second },
		"heartbeat: ":        func(c *app.Config) { c.Heartbeat = 0 },
		"base-path: ":        func(c *app.Config) { c.BasePath = "refresher" },
		"allowed-origins: ":  func(c *app.Config) { c.AllowedOrigins = []string{"ftp://x"} },
		"events-url: ":       func(c *app.Config) { c.Events.URL, c.Events.Secret = "nowhere", secret },
		"authorize-url: ":    func(c *app.Config) { c.Authorize.URL, c.Authorize.Secret = "nowhere", secret },
		"redis-url: ":        func(c *app.Config) { c.Redis.URL = "localhost:6379" },
		"redis-ca-file, ":    func(c *app.Config) { c.Redis.CAFile = "ca.pem" },
	} {
		c := apptest.Config()
		change(&c)
		if _, err := app.New(c, apptest.Quiet); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
