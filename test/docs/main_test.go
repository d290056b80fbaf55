// Package docs checks the documents in docs/ against the code and a running service: every
// message, answer and metric is documented, everything documented occurs, and the transcripts
// are executed. Tables that follow from the code are generated.
package docs

import (
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/test/nodetest"
)

func TestMain(m *testing.M) {
	// More of these tests run in parallel than the machine has processors, since they wait for most of their time. A
	// flag on the command line overrides this number.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	// goleak must ignore go-redis's dialing in the background: some nodes here have a Redis that cannot be reached.
	nodetest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

const jwtSecret = "a secret of the tests, and of nothing else"

const patience = 20 * time.Second

type node struct {
	*apptest.Node
	certificates string // the file with the App Certificates that the node reads
}

// changeCertificate replaces the App Certificate with which the node signs tokens.
func (n *node) changeCertificate() {
	n.T.Helper()
	if err := os.WriteFile(n.certificates, []byte("00000000000000000000000000000001\n"+apptest.Certificate+"\n"), 0o600); err != nil {
		n.T.Fatal(err)
	}
	n.Reloads <- syscall.SIGHUP
}

// startNode runs a service with the default settings, except for those that the caller gives, such as "ttl=4s
// join-rate=1".
func startNode(t *testing.T, settings string) *node {
	t.Helper()
	n := &node{certificates: filepath.Join(t.TempDir(), "certificates")}
	if err := os.WriteFile(n.certificates, []byte(apptest.Certificate+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Node = apptest.StartNode(t, func(c *app.Config) {
		c.Projects[0].CertificateFile, c.Projects[0].Keys.Secrets = n.certificates, []string{jwtSecret}
		c.Authorize.Timeout = 2 * time.Second
		for setting := range strings.FieldsSeq(settings) {
			if err := set(c, setting); err != nil {
				t.Fatalf("%s: %v", setting, err)
			}
		}
		if c.Authorize.URL != "" {
			c.Authorize.Secret = apptest.HookSecret
		}
		if c.Redis.URL != "" {
			c.Redis.Prefix = "docs"
		}
	})
	return n
}

// set changes one setting. The setting "insecure" has no value.
func set(c *app.Config, setting string) (err error) {
	name, value, _ := strings.Cut(setting, "=")
	durations := map[string]*time.Duration{
		"ttl": &c.Policy.TTL, "renew-before": &c.Policy.RenewBefore, "max-session": &c.Policy.MaxSession,
		"ack-timeout": &c.Policy.AckTimeout, "drain-window": &c.DrainWindow,
	}
	rates := map[string]*float64{"join-rate": &c.JoinRate, "address-rate": &c.AddressRate}
	texts := map[string]*string{
		"auth": &c.Auth, "jwks-url": &c.Projects[0].Keys.JWKSURL, "authorize-url": &c.Authorize.URL, "redis-url": &c.Redis.URL,
	}
	switch {
	case durations[name] != nil:
		*durations[name], err = time.ParseDuration(value)
	case rates[name] != nil:
		*rates[name], err = strconv.ParseFloat(value, 64)
	case texts[name] != nil:
		*texts[name] = value
	case name == "max-sessions":
		c.MaxSessions, err = strconv.Atoi(value)
	case name == "insecure":
		c.Insecure = true
	default:
		err = strconv.ErrSyntax
	}
	c.Policy.MinTTL = min(c.Policy.MinTTL, c.Policy.TTL) // MinTTL must not exceed a short ttl
	return err
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (n *node) public() string     { return "http://" + n.App.Addr().String() }
func (n *node) operations() string { return "http://" + n.App.OpsAddr().String() }

// request sends one HTTP request, with an Authorization header unless `auth` is empty.
func (n *node) request(method, url, body, auth string) reply {
	n.T.Helper()
	var header []string
	if auth != "" {
		header = []string{"Authorization", auth}
	}
	r, text := n.Request(method, url, body, header...)
	return reply{r.StatusCode, r.Header, []byte(text)}
}

// awaitListed waits until the service lists a session, which happens after the join is answered.
func (n *node) awaitListed(path string) {
	n.T.Helper()
	deadline := time.Now().Add(patience)
	for n.request("GET", n.public()+path, "", "").status != 200 {
		if time.Now().After(deadline) {
			n.T.Fatalf("%s is never shown", path)
		}
		runtime.Gosched()
	}
}

func refresher(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), nodetest.Program(t), args...)
	c.Env = append(os.Environ(), "REFRESHER_JWT_SECRET="+jwtSecret)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("refresher %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}
