//go:build programs

package clients

import (
	"io"
	"net/http"
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
	page, fence  string // page in docs/build/clients, and the language of the code block with the client
	client, main string // file names for the client and the driver
	compile, run []string
}

// newtonsoft and jars are the libraries that the C# and the Java client need; Android has org.json built in.
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

// TestClient checks that the client of each documentation page keeps its tokens valid while nodes and the network
// fail. The languages run in parallel, since each mostly waits.
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
	net := newNetwork(t, node.Addr())
	ana, ben := startApp(t, run, net.url(), "1001"), startApp(t, run, net.url()+"/", "1002")

	both := func(f func(*app)) { f(ana); f(ben) }
	both(func(a *app) { a.want("join") })
	both(func(a *app) { a.want("renew") })
	both(func(a *app) { a.want("renew") })

	// Cleo leaves: her session ends.
	cleo := startApp(t, run, net.url(), "1003")
	cleo.want("join")
	cleo.command("leave")
	cleo.ended("left")
	node.Await(1, "session ended")

	// An SDK refuses its token, and gets another one.
	ana.refusals <- "3"
	node.Await(1, "client's SDK refused the tokens")
	both((*app).renewed)
	ana.want("renew")
	if len(node.Logged(`"sdk_code":"3"`)) != 1 {
		t.Error("the node does not know the SDK's code")
	}

	// The service crashes and starts again.
	node.Kill()
	both((*app).renewed)
	node.Start()
	node.Await(2, "session resumed")
	both(func(a *app) { a.want("renew") })

	// The network drops every byte. The clients detect the dead connection by their pings.
	connects := net.next()
	net.set(silent)
	<-connects
	both((*app).renewed)
	node.Mark()
	net.set(up)
	node.Await(2, "session resumed")
	both(func(a *app) { a.want("renew") })

	// The node shuts down, and its clients connect to another node.
	net.move(another.Addr())
	node.Stop()
	another.Await(2, "session resumed")
	both(func(a *app) { a.want("renew") })

	dora := startApp(t, run, net.url(), "1004")
	dora.want("join")

	// While WebSockets are blocked, the clients renew their tokens over HTTP, and one user leaves over HTTP. Then
	// WebSockets work again, and Ana's client gets the event that her network is back.
	net.set(noUpgrade)
	both((*app).renewed)
	both(func(a *app) { a.want("renew") })
	another.Mark()
	ben.command("leave")
	ben.ended("left")
	another.Await(1, "session ended")
	ask(t, another, http.MethodPost, "/v1/revocations", `{"channel":"daily","uid":1004,"for":60}`)
	dora.ended("revoked")
	net.set(up)
	ana.command("wake")
	another.Await(1, "session resumed")

	// The SDK reports that its token expired. The client gives it the newest token again.
	ana.command("expired")
	ana.await("rejoin")

	// An operator revokes Ana's access.
	ask(t, another, http.MethodPost, "/v1/revocations", `{"channel":"daily","uid":1001,"for":60}`)
	ana.ended("revoked")

	if joined := append(node.Logged("session joined"), another.Logged("session joined")...); len(joined) != 4 {
		t.Errorf("four clients joined %d times: a session was not kept: %s", len(joined), joined)
	}
	for _, n := range []*nodetest.Node{node, another} {
		if errors := n.Errors(); len(errors) > 0 {
			t.Errorf("the node logged errors: %s", errors)
		}
	}
}

// start runs a node, whose tokens are renewed 5 to 7.5 s before they expire.
func start(t *testing.T, name string) *nodetest.Node {
	t.Helper()
	n := nodetest.New(t, name, "--auth=jwt", "--token-ttl=10s", "--drain-window=1s")
	n.Setenv(secret)
	n.Start()
	return n
}

// build copies a page's client and its driver into a folder, compiles them, and returns the command that runs them.
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

// ask sends a request with an operator's credential.
func ask(t *testing.T, n *nodetest.Node, method, path, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+grant(t.Context(), t, "--subject", "ops", "--admin"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d, %v: %s", method, path, response.StatusCode, err, text)
	}
	return string(text)
}
