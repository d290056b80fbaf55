// Package docs holds the documents in docs/ against the code and the running
// service: what the service says must be documented, what is documented must be
// said, and the transcripts are played.
package docs

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/access"
	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/hook"
	"refresher/internal/project"
	"refresher/internal/session"
)

func TestMain(m *testing.M) {
	// These tests wait more than they work, so that more of them than there
	// are processors may run at once. The flag on the command line goes first.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "docs"); err != nil {
		panic(err)
	}
	// Of a Redis that is not there, as in internal/redis.
	late := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	goleak.VerifyTestMain(m, late, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(scratch)
		os.Exit(code)
	}))
}

// patience is how long anything may take to happen that the tests wait for.
const patience = 20 * time.Second

// node is a running service.
type node struct {
	t    *testing.T
	app  *app.App
	stop func() // drains it and waits until it is gone

	certificates string // the file of its App Certificates
	reloads      chan os.Signal
}

// certificate is the App Certificate of all nodes at first.
const certificate = "5CFd2fd1755d40ecb72977518be15d3b"

// changeCertificate has the node sign with another one.
func (n *node) changeCertificate() {
	n.t.Helper()
	if err := os.WriteFile(n.certificates, []byte("00000000000000000000000000000001\n"+certificate+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.reloads <- syscall.SIGHUP
}

// startNode runs a service. settings are like "ttl=4s join-rate=1"; without
// any, they are what the documents give as defaults.
func startNode(t *testing.T, settings string) *node {
	t.Helper()
	c := app.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", IdleTimeout: 650 * time.Second,
		Settings: project.Settings{Projects: []project.Project{{
			AppID: "970CA35de60c44645bbae8a215061b33", Certificates: []string{certificate}, CertificateFile: filepath.Join(t.TempDir(), "certificates"),
			Keys: credential.Keys{Secrets: []string{jwtSecret}},
		}}},
		Rules: access.Rules{Auth: "none"}, Heartbeat: 50 * time.Second,
		Authorize: hook.Config{Timeout: 2 * time.Second},
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
	}
	for setting := range strings.FieldsSeq(settings) {
		if err := set(&c, setting); err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
	}
	if err := os.WriteFile(c.Projects[0].CertificateFile, []byte(certificate+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, reloads := make(chan struct{}), make(chan os.Signal, 1)
	go func() {
		defer close(done)
		if err := a.Run(ctx, context.Background(), reloads); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	n := &node{t: t, app: a, certificates: c.Projects[0].CertificateFile, reloads: reloads, stop: sync.OnceFunc(func() {
		cancel()
		<-done
	})}
	t.Cleanup(n.stop)
	return n
}

// set changes one setting.
func set(c *app.Config, setting string) (err error) {
	name, value, _ := strings.Cut(setting, "=")
	switch name {
	case "ttl": // also the shortest that a client may ask for; of 3s, renewals are due after 0.5 to 2 s
		c.Policy.TTL, err = time.ParseDuration(value)
		c.Policy.MinTTL = min(c.Policy.MinTTL, c.Policy.TTL)
	case "renew-before":
		c.Policy.RenewBefore, err = time.ParseDuration(value)
	case "max-session":
		c.Policy.MaxSession, err = time.ParseDuration(value)
	case "ack-timeout":
		c.Policy.AckTimeout, err = time.ParseDuration(value)
	case "heartbeat":
		c.Heartbeat, err = time.ParseDuration(value)
	case "drain-window":
		c.DrainWindow, err = time.ParseDuration(value)
	case "join-rate":
		c.JoinRate, err = strconv.ParseFloat(value, 64)
	case "max-sessions":
		c.MaxSessions, err = strconv.Atoi(value)
	case "insecure":
		c.Insecure = true
	case "auth":
		c.Auth = value
	case "address-rate":
		c.AddressRate, err = strconv.ParseFloat(value, 64)
	case "subject-rate":
		c.SubjectRate, err = strconv.ParseFloat(value, 64)
	case "jwks-url":
		c.Projects[0].Keys = credential.Keys{JWKSURL: value}
	case "authorize-url":
		c.Authorize.URL, c.Authorize.Secret = value, "a secret of the tests alone"
	case "redis-url":
		c.Redis.URL, c.Redis.Prefix = value, "docs"
	default:
		err = strconv.ErrSyntax
	}
	return err
}

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (n *node) public() string     { return "http://" + n.app.Addr().String() }
func (n *node) operations() string { return "http://" + n.app.OpsAddr().String() }

// request makes one HTTP request. header is names and values in turn.
func (n *node) request(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return reply{response.StatusCode, response.Header, nil}
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, text}
}
