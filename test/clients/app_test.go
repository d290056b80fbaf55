//go:build programs

package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// secret is the key that signs the users' credentials.
const secret = "REFRESHER_JWT_SECRET=0123456789abcdef0123456789abcdef"

// app is one client in a process of its own, with a driver, which is the program around the client. The driver requests
// credentials, the SDK's answers and the user's commands from the test over HTTP. So the test plays the back end,
// Agora's SDK and the user.
type app struct {
	t        *testing.T
	uid      string
	log      program.Journal
	process  *program.Process
	actions  chan string // the action of each bundle that the SDK has received: "join", "renew" or "rejoin"
	refusals chan string // error codes with which the SDK refuses the next bundles, one code for each
	commands chan string // commands for the driver, such as "leave"; the channel is closed when the session has ended
	over     chan string
}

// room is the capacity of app.actions. A test causes fewer bundles than that, so a send to the channel never blocks.
const room = 100

// pollFor is how long a driver's request for a command is kept open before the test answers that there is no command.
// It is less than the 100 s after which Mono aborts a request: a command that is sent to an aborted request would be
// lost.
const pollFor = 30 * time.Second

// startApp starts a process with the client of a documentation page and its driver, which plays an app. The client
// connects to the address `service`.
func startApp(t *testing.T, run program.Command, service, uid string) *app {
	t.Helper()
	a := &app{
		t: t, uid: uid,
		actions: make(chan string, room), refusals: make(chan string, 1), commands: make(chan string), over: make(chan string, 1),
	}
	handle := http.NewServeMux()
	handle.HandleFunc("/credential", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, grant(r.Context(), t, "--subject", "user-"+uid, "--channels", "daily", "--uids", uid, "--roles", "publisher"))
	})
	handle.HandleFunc("/sdk", func(w http.ResponseWriter, r *http.Request) {
		if token := r.FormValue("token"); !strings.HasPrefix(token, "007") {
			t.Errorf("%s: the token is %q", uid, token)
		}
		select {
		case code := <-a.refusals:
			_, _ = fmt.Fprint(w, code)
		default:
		}
		a.actions <- r.FormValue("action")
	})
	handle.HandleFunc("/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case command := <-a.commands:
			_, _ = fmt.Fprint(w, command)
		case <-time.After(pollFor):
			_, _ = fmt.Fprint(w, "none")
		case <-r.Context().Done():
		}
	})
	handle.HandleFunc("/over", func(_ http.ResponseWriter, r *http.Request) {
		a.over <- r.FormValue("reason")
		close(a.commands)
	})
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	run.Args = slices.Concat(run.Args, []string{service, server.URL, uid})
	p, err := program.Start(&a.log, run)
	if err != nil {
		t.Fatal(err)
	}
	a.process = p
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the client of %s said:\n%s", uid, a.log.Tail(40))
		}
	})
	return a
}

func receive[T any](a *app, from <-chan T, what string) (value T) {
	a.t.Helper()
	select {
	case value = <-from:
	case <-time.After(nodetest.Patience):
		a.t.Fatalf("%s: no %s", a.uid, what)
	}
	return value
}

func (a *app) command(what string) {
	a.t.Helper()
	select {
	case a.commands <- what:
	case <-time.After(nodetest.Patience):
		a.t.Fatalf("the client of %s does not ask for commands", a.uid)
	}
}

// want waits until the client gives the tokens of a bundle to the SDK, and checks the bundle's action.
func (a *app) want(action string) {
	a.t.Helper()
	if got := receive(a, a.actions, action); got != action {
		a.t.Errorf("%s: the action is %q; want %q", a.uid, got, action)
	}
}

// renews waits until the client's next renewal. All earlier actions must be renewals, too: a "rejoin" means that a token
// had expired.
func (a *app) renews() {
	a.t.Helper()
	for range len(a.actions) + 1 {
		a.want("renew")
	}
}

// ended waits until the client reports the end of its session and its process exits. The reported reason must be
// `want`.
func (a *app) ended(want string) {
	a.t.Helper()
	if reason := receive(a, a.over, "end of the session"); reason != want {
		a.t.Errorf("%s: the session ended with %q; want %q", a.uid, reason, want)
	}
	<-a.process.Done()
	if code := a.process.State().ExitCode(); code != 0 {
		a.t.Errorf("%s: exit status %d", a.uid, code)
	}
}

func grant(ctx context.Context, t *testing.T, flags ...string) string {
	t.Helper()
	command := exec.CommandContext(ctx, nodetest.Program(t), append([]string{"token", "grant"}, flags...)...)
	command.Env = append(os.Environ(), secret)
	out, err := command.Output()
	if err != nil {
		t.Errorf("refresher token grant: %v", err)
	}
	return strings.TrimSpace(string(out))
}
