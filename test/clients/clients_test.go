//go:build programs

package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/program"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// language is a programming language in which docs/build/clients shows a client that the test runs.
type language struct {
	page, fence  string // the page in docs/build/clients, and the language of the code block that has the client
	client, main string // the file names of the client and of its driver, which plays an app
	compile, run []string
}

// newtonsoft and jars are the libraries that the C# and the Kotlin client need. The last jar is org.json, which is a
// part of Android.
const newtonsoft = "/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll"

const jars = "/usr/share/java/okhttp.jar:/usr/share/java/okio.jar:/usr/share/java/com.android.json.jar"

var languages = map[string]language{
	"Python": {
		page: "python.md", fence: "python", client: "client.py", main: "driver.py",
		run: []string{"/usr/bin/python3", "driver.py"},
	},
	"C#": {
		page: "csharp.md", fence: "csharp", client: "client.cs", main: "driver.cs",
		compile: []string{"mcs", "-out:app.exe", "-r:" + newtonsoft, "-r:System.Net.Http.dll", "client.cs", "driver.cs"},
		run:     []string{"env", "MONO_PATH=/usr/lib/cli/Newtonsoft.Json-5.0", "mono", "app.exe"},
	},
	"Kotlin": {
		page: "kotlin.md", fence: "kotlin", client: "client.kt", main: "driver.kt",
		compile: []string{"env", "JAVA_OPTS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", "kotlinc", "-classpath", jars, "-d", "app.jar", "client.kt", "driver.kt"},
		run:     []string{"java", "-classpath", "app.jar:" + jars + ":/usr/share/java/kotlin-stdlib.jar", "DriverKt"},
	},
}

// TestClient checks that the client of each documentation page keeps its tokens valid while nodes and the network fail.
// The languages run in parallel, since each of them waits for most of its time.
func TestClient(t *testing.T) {
	var wait sync.WaitGroup
	for name, l := range languages {
		wait.Go(func() {
			t.Run(name, func(t *testing.T) { keepsItsCalls(t, l) })
		})
	}
	wait.Wait()
}

func keepsItsCalls(t *testing.T, l language) {
	run := build(t, l)
	node, another := start(t, "node"), start(t, "another")
	net := newNetwork(t, node)
	ana, ben := startApp(t, run, net.url(), "1001"), startApp(t, run, net.url()+"/", "1002")
	bothRenew := func(when string) {
		ana.renews()
		ben.renews()
		t.Log("renewed:", when)
	}
	ana.want("join")
	ben.want("join")
	bothRenew("after the join")

	cleo := startApp(t, run, net.url(), "1003")
	cleo.want("join")
	cleo.command("leave")
	cleo.ended("left")
	node.Await(1, "session ended")

	ana.refusals <- "3" // Ana's SDK will refuse the next token, with the error code 3
	node.Await(1, "client's SDK refused the tokens")
	ana.renews()
	if len(node.Logged(`"sdk_code":"3"`)) != 1 {
		t.Error("the node does not know the SDK's code")
	}

	node.Kill()
	node.Start()
	node.Await(2, "session resumed")
	bothRenew("after a crash")

	// The network drops every byte. The clients detect the dead connection by their pings, and connect again.
	net.Blackhole()
	for len(net.connects) > 0 {
		<-net.connects
	}
	receive(ana, net.connects, "new connection")
	node.Mark()
	net.Heal()
	node.Await(2, "session resumed")
	bothRenew("after a silent network")

	net.node.Store(another)
	node.Stop()
	another.Await(2, "session resumed")
	bothRenew("on another node")

	dora := startApp(t, run, net.url(), "1004")
	dora.want("join")

	// While WebSockets are blocked, the clients renew their tokens over HTTP, one user leaves, and another one is
	// revoked. When WebSockets work again, Ana's client is told that its network is back.
	net.noUpgrade.Store(true)
	net.Cut()
	net.Heal()
	bothRenew("over HTTP")
	another.Mark()
	ben.command("leave")
	ben.ended("left")
	another.Await(1, "session ended")
	revoke(t, another, 1004)
	dora.ended("revoked")
	net.noUpgrade.Store(false)
	ana.command("wake")
	another.Await(1, "session resumed")

	ana.command("expired") // Ana's SDK reports that its token expired: the client gives the SDK the newest token again
	for action := ""; action != "rejoin"; {
		action = receive(ana, ana.actions, "rejoin")
	}
	revoke(t, another, 1001)
	ana.ended("revoked")

	if joined := append(node.Logged("session joined"), another.Logged("session joined")...); len(joined) != 4 {
		t.Errorf("four clients joined %d times: a session was not kept: %s", len(joined), joined)
	}
	if errors := append(node.Errors(), another.Errors()...); len(errors) > 0 {
		t.Errorf("the nodes logged errors: %s", errors)
	}
}

// start runs a node with short-lived tokens, which are renewed 5 to 7.5 s before they expire.
func start(t *testing.T, name string) *nodetest.Node {
	t.Helper()
	n := nodetest.New(t, name, "--auth=jwt", "--token-ttl=10s", "--drain-window=1s")
	n.Setenv(secret)
	n.Start()
	return n
}

func build(t *testing.T, l language) program.Command {
	t.Helper()
	page, err := os.ReadFile("../../docs/build/clients/" + l.page)
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(page), "```"+l.fence+"\n")
	code, _, found := strings.Cut(code, "\n```\n")
	if !found {
		t.Fatalf("docs/build/clients/%s has no block of %s", l.page, l.fence)
	}
	main, err := os.ReadFile(l.main)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, text := range map[string]string{l.client: code + "\n", l.main: string(main)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l.compile != nil {
		command := exec.CommandContext(t.Context(), l.compile[0], l.compile[1:]...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", l.page, err, out)
		}
	}
	return program.Command{Path: l.run[0], Args: l.run[1:], Dir: dir}
}

func revoke(t *testing.T, n *nodetest.Node, uid int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), nodetest.Program(t), "revoke", "--channel=daily", fmt.Sprint("--uid=", uid), "--for=1m")
	command.Env = append(os.Environ(), "REFRESHER_API_URL=http://"+n.Addr(), "REFRESHER_CREDENTIAL="+grant(t.Context(), t, "--subject", "ops", "--admin"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
