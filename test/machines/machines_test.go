//go:build programs

package machines

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/program"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

const (
	page = "../../docs/operate/two-machines.md"
	// patience is the longest time in which a program may start, or a block of commands may run.
	patience = time.Minute
)

// sections returns the sh blocks of a document by the heading above them.
func sections(t *testing.T, document string) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	heading := ""
	for _, m := range regexp.MustCompile("(?m)^#+ (.*)$|^```sh\n((?:.*\n)*?)```$").FindAllStringSubmatch(text(t, document), -1) {
		if m[1] != "" {
			heading = m[1]
		} else {
			found[heading] = append(found[heading], m[2])
		}
	}
	return found
}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

type world struct {
	t      *testing.T
	a, b   *machine
	places *strings.Replacer
}

// machine is one of the two machines. The folder `root` takes the place of the machine's / folder. Variables and
// functions of its shell are kept from one block of commands to the next.
type machine struct {
	*world
	root, address string
	log           program.Journal
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	network := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))
	w.a, w.b = &machine{world: w, root: t.TempDir(), address: network + "11"}, &machine{world: w, root: t.TempDir(), address: network + "12"}
	calls, redis := strconv.Itoa(program.Port(t)), strconv.Itoa(program.Port(t))
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	w.places = strings.NewReplacer(
		"10.0.0.11", w.a.address, "10.0.0.12", w.b.address, ":8080", ":"+calls,
		"redis-cli ", "redis-cli -p "+redis+" ", "6379", redis, ":9090", ":"+strconv.Itoa(program.Port(t)),
		"https://calls.example.com", "http://"+w.a.address+":"+calls, "wss://calls.example.com", "ws://"+w.a.address+":"+calls,
		"/usr/share/doc/refresher/deploy", deploy,
		"--ttl 90", "--ttl 10", // with tokens of 10 s, sessions are renewed within 5 s
	)
	bin := filepath.Join(w.a.root, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(nodetest.Program(t), filepath.Join(bin, "refresher")); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*machine{w.a, w.b} {
		for _, folder := range []string{"redis", "refresher", "haproxy", "ssl", "prometheus", "default"} {
			if err := os.MkdirAll(m.path("etc", folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.root}, parts...)...)
}

// standIns are shell functions. They replace programs that would change the real machine, and make HAProxy look for its
// files under root.
const standIns = `
apt() { :; }; chown() { :; }; amtool() { :; }
systemctl() { echo "$*" >>"$ROOT/systemctl"; }
scp() { local from=("${@:2}"); cp "${from[@]:0:$#-2}" "$OTHER${!##*:}"; }
haproxy() { sed -i "s#/etc/#$ROOT/etc/#" "$3"; command haproxy "$@"; }
[ ! -e "$ROOT/state" ] || . "$ROOT/state"
`

func (m *machine) run(block string) string {
	m.t.Helper()
	other := m.b
	if m == m.b {
		other = m.a
	}
	block = strings.ReplaceAll(m.places.Replace(block), "/etc/", m.root+"/etc/")
	block = strings.ReplaceAll(block, ":"+m.root+"/etc/", ":/etc/") // a path after a colon is scp's target on the other machine, so it is not below this machine's root
	script := standIns + block + "\n" + `{ declare -p | grep -v '^declare -[a-zA-Z-]*r'; declare -f redis || :; } >"$ROOT/state"`
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir = m.root
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"ROOT=" + m.root, "OTHER=" + other.root, "HOME=" + m.root, "PATH=" + m.a.path("bin") + ":" + os.Getenv("PATH")}
	said, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v:\n%s\n%s", err, block, said)
	}
	return string(said)
}

// start starts a program, which runs until the test ends. It waits until the program's log contains the text `ready`.
func (m *machine) start(ready string, c program.Command) {
	m.t.Helper()
	p, err := program.Start(&m.log, c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(p.Kill)
	from := m.log.Len()
	if err := m.log.Await(from, p.Done(), patience, func(l program.Line) bool { return strings.Contains(l.Text, ready) }); err != nil {
		m.t.Fatalf("%v: %s", err, m.log.Tail(20))
	}
}

func (m *machine) startRedis() {
	m.t.Helper()
	m.start("Ready to accept connections", program.Command{Path: "redis-server", Args: []string{
		m.path("etc/redis/redis.conf"), "--dir", m.root, "--daemonize", "no", "--logfile", "", "--pidfile", m.path("redis.pid"), "--unixsocket", "",
	}})
}

func (m *machine) startNode() {
	m.t.Helper()
	m.start(`"msg":"serving"`, program.Command{
		Path: nodetest.Program(m.t), Args: []string{"serve", "--app-certificate-file=" + m.path("etc/refresher/certificate")},
		Env: append(strings.Fields(text(m.t, m.path("etc/refresher/refresher.env"))), "REFRESHER_LOG_FORMAT=json"),
	})
}

func expect(t *testing.T, text, expression string) {
	t.Helper()
	if !regexp.MustCompile(expression).MatchString(text) {
		t.Errorf("%s\ndoes not fit %s", text, expression)
	}
}

func TestTwoMachines(t *testing.T) {
	w := newWorld(t)
	a, b, do := w.a, w.b, sections(t, page)
	conf := "bind 127.0.0.1 -::1\nprotected-mode yes\nport 6379\n"
	if debian, err := os.ReadFile("/etc/redis/redis.conf"); err == nil {
		conf = string(debian)
	}
	if err := os.WriteFile(a.path("etc/redis/redis.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*machine{a, b} {
		m.run(do["Packages"][0])
	}

	a.run(do["Redis"][0])
	a.run(do["Redis"][1])
	a.startRedis()
	expect(t, a.run(do["Redis"][2]), `^PONG\n(.*\n)*.*(NOAUTH|WRONGPASS)`)

	nodes := do["The nodes"]
	a.run(nodes[0])
	a.startNode()
	a.run(nodes[1])
	b.run(nodes[2])
	b.startNode()
	expect(t, a.run(nodes[3]), `^ready\s*ready\s*(\S+\n){2,3}$`)

	for _, m := range []*machine{a, b} {
		m.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=calls -keyout privkey.pem -out fullchain.pem")
		m.run(do["HAProxy"][0])
	}
	expect(t, a.run(do["HAProxy"][1]), `pong.*\n?HTTP/1.1 426`)
	expect(t, b.run(do["Prometheus and alerts"][0]), `SUCCESS: .*prometheus.yml is valid`)

	expect(t, a.run(do["Try it"][0]), `(?s)joined.*confirmed.*SESSION.*CERTIFICATE`)
	for _, m := range []*machine{a, b} {
		for _, line := range m.log.Lines(0) {
			if strings.Contains(line.Text, `"level":"WARN"`) || strings.Contains(line.Text, `"level":"ERROR"`) {
				t.Error(line.Text)
			}
		}
	}
	a.operates()
}

// operates runs the Redis commands of the runbook as Redis's user `operator`, and checks that this user cannot run any
// other command.
func (m *machine) operates() {
	for _, blocks := range sections(m.t, runbook) {
		for line := range strings.Lines(strings.Join(blocks, "")) {
			if !strings.HasPrefix(line, "redis ") || strings.Contains(line, "--latency-history") { // --latency-history runs until a Ctrl-C
				continue
			}
			if said := m.run(line + "true"); strings.Contains(said, "NOPERM") || strings.Contains(said, "ERR") {
				m.t.Errorf("%s%s", line, said)
			}
		}
	}
	for _, command := range []string{
		"set '{refresher:00}:x' y", "del '{refresher:00}:due'", "eval 'return 1' 0", "config get requirepass", "flushall", "keys '*'",
		"publish refresher:revocations x", "acl list", "client list", "get elsewhere", "hgetall elsewhere",
	} {
		if said := m.run("redis " + command + " 2>&1"); !strings.Contains(said, "NOPERM") {
			m.t.Errorf("the operator may %s: %s", command, said)
		}
	}
}

func TestUsersOfRedis(t *testing.T) {
	user := regexp.MustCompile(`(?m)^user .*$`)
	here, there := user.FindAllString(text(t, page), -1), user.FindAllString(text(t, "../../docs/operate/redis.md"), -1)
	if len(here) != 3 || !slices.Equal(here, there) {
		t.Errorf("%q\n%q", here, there)
	}
}
