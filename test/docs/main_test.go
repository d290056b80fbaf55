// Package docs checks the documents in docs/ against the code and a running service: every
// message, answer and metric is documented, everything documented occurs, and the transcripts
// are played. Tables that follow from the code are generated.
package docs

import (
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
)

func TestMain(m *testing.M) {
	// More of these tests run in parallel than the machine has processors, since they mostly wait. A flag on the
	// command line overrides this number.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "docs"); err != nil {
		panic(err)
	}
	// goleak must ignore go-redis's dialing in the background: some nodes here have a Redis that cannot be reached.
	late := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	goleak.VerifyTestMain(m, late, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(scratch)
		os.Exit(code)
	}))
}

// patience is the timeout of each wait.
const patience = 20 * time.Second

// node is a running service.
type node struct {
	*apptest.Node
	certificates string // path of the file with the node's App Certificates
}

// changeCertificate replaces the App Certificate with which the node signs tokens.
func (n *node) changeCertificate() {
	n.T.Helper()
	if err := os.WriteFile(n.certificates, []byte("00000000000000000000000000000001\n"+apptest.Certificate+"\n"), 0o600); err != nil {
		n.T.Fatal(err)
	}
	n.Reloads <- syscall.SIGHUP
}

// startNode runs a service with the documented defaults, changed by settings such as
// "ttl=4s join-rate=1".
func startNode(t *testing.T, settings string) *node {
	t.Helper()
	n := &node{certificates: filepath.Join(t.TempDir(), "certificates")}
	if err := os.WriteFile(n.certificates, []byte(apptest.Certificate+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Node = apptest.StartNode(t, func(c *app.Config) {
		c.Projects[0].CertificateFile, c.Projects[0].Keys = n.certificates, credential.Keys{Secrets: []string{jwtSecret}}
		c.Authorize.Timeout = 2 * time.Second
		for setting := range strings.FieldsSeq(settings) {
			if err := set(c, setting); err != nil {
				t.Fatalf("%s: %v", setting, err)
			}
		}
	})
	return n
}

func set(c *app.Config, setting string) (err error) {
	name, value, _ := strings.Cut(setting, "=")
	switch name {
	case "ttl": // also lowers --min-ttl; with 3s, renewals are due after 0.5 to 2 s
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

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (n *node) public() string     { return "http://" + n.App.Addr().String() }
func (n *node) operations() string { return "http://" + n.App.OpsAddr().String() }

// request sends one HTTP request. The parameter `header` alternates names and values.
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
