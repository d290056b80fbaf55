package redistest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client speaks to a server as a client of the tests that use this package does:
// from outside, on one connection.
type client struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

func newClient(t *testing.T, conn net.Conn, err error) *client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn, bufio.NewReader(conn)}
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	return newClient(t, conn, err)
}

func (c *client) send(args ...string) {
	c.t.Helper()
	if _, err := c.conn.Write(encode(args...)); err != nil {
		c.t.Fatal(err)
	}
}

// wants expects a reply.
func (c *client) wants(reply string) {
	c.t.Helper()
	got, err := decode(c.reader)
	if err != nil || got != reply {
		c.t.Fatalf("reply: %q, %v; want %q", got, err, reply)
	}
}

// wantsSilence expects that no reply comes for a moment.
func (c *client) wantsSilence() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	defer c.conn.SetReadDeadline(time.Now().Add(patience))
	if b, err := c.reader.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read: %q, %v; want a timeout", b, err)
	}
}

// wantsEnd expects that the connection is lost.
func (c *client) wantsEnd(want error) {
	c.t.Helper()
	if b, err := c.reader.Peek(1); !errors.Is(err, want) {
		c.t.Fatalf("read: %q, %v; want %v", b, err, want)
	}
}

func refused(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v; want it refused", err)
	}
	if err == nil {
		conn.Close()
	}
}

// wantsReset expects that a connection is taken and reset. The reset may come
// before dialling has returned, which then returns it.
func wantsReset(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if !errors.Is(err, syscall.ECONNRESET) {
		newClient(t, conn, err).wantsEnd(syscall.ECONNRESET)
	}
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t)

	c := dial(t, strings.TrimPrefix(s.URL(), "redis://"))
	c.send("SET", "k", "line\r\nline")
	c.wants("OK")
	conn, err := net.Dial("unix", strings.TrimPrefix(s.UnixURL(), "unix://"))
	c = newClient(t, conn, err)
	c.send("GET", "k")
	c.wants("line\r\nline")

	want(t, s.Do("GET", "k"), "line\r\nline")
	want(t, s.Do("GET", "absent"), "(nil)")
	want(t, s.Do("SET", "empty", ""), "OK")
	want(t, s.Do("GET", "empty"), "")
	want(t, s.Do("RPUSH", "list", "a", "b"), "2")
	want(t, s.Do("LRANGE", "list", "0", "-1"), "a\nb")
	want(t, s.Do("EVAL", "return {1, {'two', false}, redis.error_reply('THREE no')}", "0"), "1\ntwo\n(nil)\n(error) THREE no")
	if reply, err := s.Try("INCR", "k"); err == nil || err.Error() != "ERR value is not an integer or out of range" {
		t.Errorf("INCR of a text: %q, %v", reply, err)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	s := Start(t, "maxmemory-policy noeviction", "user default off", "user app on >secret ~app:* +get")
	want(t, s.Do("CONFIG", "GET", "maxmemory-policy"), "maxmemory-policy\nnoeviction")

	c := dial(t, s.Addr())
	c.send("AUTH", "app", "secret")
	c.wants("OK")
	c.send("GET", "app:1")
	c.wants("(nil)")
	c.send("GET", "other")
	if reply, err := decode(c.reader); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("GET of another's key: %q, %v", reply, err)
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]string{"appendonly no": "(nil)", "appendonly yes": "v"} {
		s := Start(t, name, "appendfsync always")
		s.Do("SET", "k", "v")
		c, addr := dial(t, s.Addr()), s.Addr()
		c.send("PING")
		c.wants("PONG")

		s.Kill()
		c.wantsEnd(io.EOF)
		refused(t, addr)
		if _, err := s.Try("PING"); err == nil {
			t.Error("a server that was killed answers")
		}
		s.Kill() // does nothing

		s.Restart()
		want(t, s.Addr(), addr)
		want(t, s.Do("GET", "k"), kept)
	}
}

func TestPauseAndContinue(t *testing.T) {
	t.Parallel()
	s := Start(t)
	c := dial(t, s.Addr())
	c.send("PING")
	c.wants("PONG")

	s.Pause()
	c.send("PING")
	fresh := dial(t, s.Addr()) // the system takes it
	fresh.send("PING")
	c.wantsSilence()
	fresh.wantsSilence()
	if _, err := s.Try("PING"); err == nil {
		t.Error("a paused server answers")
	}

	s.Continue()
	c.wants("PONG")
	fresh.wants("PONG")

	s.Pause()
	s.Kill()
	c.wantsEnd(io.EOF)
	s.Restart()
	want(t, s.Do("PING"), "PONG")
}

func TestCost(t *testing.T) {
	t.Parallel()
	s := Start(t)
	commands, memory, cpu := s.Commands(), s.UsedMemory(), s.CPU()
	if commands != 0 {
		t.Errorf("a new server has carried out %d commands", commands)
	}

	c := dial(t, s.Addr())
	for range 10 {
		c.send("PING")
		c.wants("PONG")
	}
	s.Do("SET", "k", strings.Repeat("v", 1<<20))
	s.Do("EVAL", "local n = 0; for i = 1, 5000000 do n = n + i % 7 end; return n", "0")

	if got := s.Commands(); got != 12 {
		t.Errorf("%d commands, want 12", got)
	}
	if got := s.Commands(); got != 12 {
		t.Errorf("%d commands the second time, want 12: it counts itself", got)
	}
	if got := s.UsedMemory() - memory; got < 1<<20 || got > 2<<20 {
		t.Errorf("a value of 1 MiB takes %d bytes", got)
	}
	if got := s.CPU() - cpu; got <= time.Millisecond || got > patience {
		t.Errorf("a long loop takes %v", got)
	}

	s.Kill()
	s.Restart()
	if got := s.Commands(); got != 0 {
		t.Errorf("after a restart: %d commands", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, ca := StartTLS(t)
	addr, ok := strings.CutPrefix(s.URL(), "rediss://")
	if !ok {
		t.Fatalf("URL %s", s.URL())
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", pem)
	}

	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn, nil)
	c.send("PING")
	c.wants("PONG")
	want(t, s.Do("PING"), "PONG")

	var unknown x509.UnknownAuthorityError
	if _, err := tls.Dial("tcp", addr, new(tls.Config)); !errors.As(err, &unknown) {
		t.Errorf("without the authority: %v", err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	want(t, c.URL(), fmt.Sprintf("redis+cluster://%s?addr=%s&addr=%s", c.Servers[0].Addr(), c.Servers[1].Addr(), c.Servers[2].Addr()))

	keys := map[*Server]string{} // one of each shard
	for i := range 100 {
		key := fmt.Sprint("key", i)
		keys[c.MasterOf(key)] = key
	}
	if len(keys) != masters {
		t.Fatalf("the keys of %d shards, want %d", len(keys), masters)
	}
	for s, key := range keys {
		client := dial(t, s.Addr())
		client.send("SET", key, "v")
		client.wants("OK")
		client.send("WAIT", "1", "0") // until the replica has it
		client.wants("1")
	}

	killed, paused := c.Servers[0], c.Servers[1]
	killed.Kill()
	c.AwaitFailover(killed)
	heir := c.MasterOf(keys[killed])
	if heir == killed {
		t.Fatal("a dead node is still the master")
	}
	want(t, heir.Do("GET", keys[killed]), "v")
	want(t, paused.Do("GET", keys[paused]), "v") // every node knows: none is down

	killed.Restart()
	if got := c.MasterOf(keys[killed]); got != heir {
		t.Errorf("%s is back and the master is %s, want %s", killed.Addr(), got.Addr(), heir.Addr())
	}

	paused.Pause()
	c.AwaitFailover(paused)
	want(t, c.MasterOf(keys[paused]).Do("GET", keys[paused]), "v")
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	g := StartSentinel(t)
	want(t, g.URL(), fmt.Sprintf("redis+sentinel://%s?master_name=main&addr=%s&addr=%s", g.Sentinels[0].Addr(), g.Sentinels[1].Addr(), g.Sentinels[2].Addr()))
	a, b := g.Servers[0], g.Servers[1]
	if g.Master() != a {
		t.Fatalf("the master is %s at first, want %s", g.Master().Addr(), a.Addr())
	}

	g.Failover()
	if g.Master() != b {
		t.Fatal("Failover changed nothing")
	}
	want(t, strings.Fields(a.Do("ROLE"))[0], "slave")
	g.Failover()
	if g.Master() != a {
		t.Fatal("a second Failover changed nothing")
	}

	client := dial(t, a.Addr())
	client.send("SET", "k", "v")
	client.wants("OK")
	client.send("WAIT", "1", "0")
	client.wants("1")
	if former := g.KillMaster(); former != a || a.answers() || g.Master() != b {
		t.Fatalf("KillMaster killed %s, and the master is %s", former.Addr(), g.Master().Addr())
	}
	want(t, b.Do("GET", "k"), "v")

	a.Restart()
	g.Failover()
	if g.Master() != a {
		t.Fatal("Failover to a server that was dead changed nothing")
	}
	want(t, a.Do("GET", "k"), "v")
}

func TestProxySlow(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, Start(t).Addr())
	ping := func(c *client) time.Duration {
		began := time.Now()
		c.send("PING")
		c.wants("PONG")
		return time.Since(began)
	}
	before := dial(t, p.Addr())
	ping(before)

	const delay = 101 * time.Millisecond
	p.Slow(time.Minute)
	p.Slow(delay) // instead
	for _, c := range []*client{before, dial(t, p.Addr())} {
		if took := ping(c); took < delay {
			t.Errorf("an answer after %v, want %v", took, delay)
		}
	}

	p.Slow(time.Minute)
	before.send("PING")
	before.wantsSilence()
	p.Heal()
	before.wants("PONG")
	if took := ping(before); took > patience {
		t.Errorf("healed, an answer takes %v", took)
	}

	// What is under way does not hold up the end of the test.
	p.Slow(time.Hour)
	before.send("PING")
}

func TestProxyBlackhole(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, Start(t).Addr())
	before := dial(t, p.Addr())
	before.send("PING")
	before.wants("PONG")

	p.Blackhole()
	p.Blackhole() // does nothing
	during := dial(t, p.Addr())
	for _, c := range []*client{before, during} {
		c.send("PING")
		c.wantsSilence()
	}

	p.Heal()
	before.wantsEnd(syscall.ECONNRESET)
	during.wantsEnd(syscall.ECONNRESET)
	after := dial(t, p.Addr())
	after.send("PING")
	after.wants("PONG")

	p.Slow(time.Hour)
	after.send("PING")
	p.Blackhole()
	after.wantsSilence()
}

func TestProxyCut(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := StartProxy(t, s.Addr())
	before, addr := dial(t, p.Addr()), p.Addr()
	before.send("PING")
	before.wants("PONG")

	p.Cut()
	before.wantsEnd(syscall.ECONNRESET)
	refused(t, addr)
	p.Cut() // does nothing

	p.Heal()
	want(t, p.Addr(), addr)
	after := dial(t, addr)
	after.send("PING")
	after.wants("PONG")

	s.Kill()
	after.wantsEnd(io.EOF)
	wantsReset(t, addr) // nothing behind the proxy
	s.Restart()
	again := dial(t, addr)
	again.send("PING")
	again.wants("PONG")
}

// A client that goes away in the middle of an answer is where toxiproxy by
// itself leaves goroutines behind. TestMain looks for them.
func TestProxyLosesClient(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Do("SET", "k", strings.Repeat("v", 16<<20))
	p := StartProxy(t, s.Addr())
	for range 3 {
		c := dial(t, p.Addr())
		c.send("GET", "k")
		if _, err := c.reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fails returns what a test says that fails.
func fails(t *testing.T, test func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	if r.said == "" {
		t.Fatal("it does not fail")
	}
	return r.said
}

func TestBadConfigurationFails(t *testing.T) {
	t.Parallel()
	said := fails(t, func(t testing.TB) { Start(t, "no-such-setting yes") })
	if !strings.Contains(said, "no-such-setting") {
		t.Errorf("it does not show the log: %s", said)
	}
}

func TestMissingServerFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	said := fails(t, func(t testing.TB) { Start(t) })
	if !strings.Contains(said, "make setup") {
		t.Errorf("it does not say what to do: %s", said)
	}
}

// asChild names the variable that makes the test binary the one to be killed.
const asChild = "REDISTEST_AS_CHILD"

func TestServerDiesWithTheTests(t *testing.T) {
	if os.Getenv(asChild) != "" {
		fmt.Println("at", Start(t).Addr())
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	t.Parallel()
	child := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheTests$")
	child.Env = append(os.Environ(), asChild+"=1", "TMPDIR="+t.TempDir())
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	if _, err := fmt.Fscanf(stdout, "at %s\n", &addr); err != nil {
		t.Fatal(err)
	}
	c := dial(t, addr)
	c.send("PING")
	c.wants("PONG")

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // says that it was killed
	c.wantsEnd(io.EOF)
}

func TestNothingStays(t *testing.T) {
	t.Parallel()
	var s *Server
	t.Run("start", func(t *testing.T) {
		s = Start(t)
		s.Pause()
	})
	refused(t, s.Addr())
	if _, err := os.Stat(filepath.Dir(s.socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func BenchmarkPing(b *testing.B) {
	s := Start(b)
	for b.Loop() {
		s.Do("PING")
	}
}

func FuzzDecode(f *testing.F) {
	for _, reply := range []string{"+OK\r\n", "-ERR no\r\n", ":1\r\n", "$2\r\nhi\r\n", "$-1\r\n", "$2\r\n000", "*2\r\n:1\r\n*1\r\n-no\r\n", "*-1\r\n"} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		text, err := decode(bufio.NewReader(strings.NewReader(reply)))
		if err != nil && text != "" {
			t.Errorf("both %q and %v", text, err)
		}
	})
}

func TestRefuseWrites(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, why := range Refusals {
		s.Do("SET", "k", "v")
		s.RefuseWrites(why)
		if reply, err := s.Try("SET", "k", "w"); err == nil || !strings.HasPrefix(err.Error(), string(why)) {
			t.Errorf("%s: SET: %q, %v", why, reply, err)
		}
		want(t, s.Do("GET", "k"), "v")
		s.AcceptWrites(why)
		want(t, s.Do("SET", "k", "w"), "OK")
	}
}
