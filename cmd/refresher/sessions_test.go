package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"refresher/client"
)

const officeSecret = "what signs the credentials, of 32 bytes or more"

// officeGrant makes a credential by `refresher token grant`.
func officeGrant(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := run(t, []string{"REFRESHER_JWT_SECRET=" + officeSecret}, append([]string{"token", "grant"}, args...)...)
	if code != 0 {
		t.Fatal(stderr)
	}
	return strings.TrimSpace(stdout)
}

// offices is a running service with two calls, and the credential of an operator.
type offices struct {
	*service
	t     *testing.T
	admin string
	calls map[string]*officeCall // by subject
}

// officeCall records what the client of one call receives.
type officeCall struct {
	causes chan string // receives the cause of each renewal
	ended  chan error
}

// openOffices starts the service and both calls, and waits until each was renewed once.
func openOffices(t *testing.T) *offices {
	t.Helper()
	c := command(t, append([]string{"REFRESHER_JWT_SECRET=" + officeSecret}, credentialsEnv...),
		"serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--min-ttl=4s", "--drain-window=0")
	o := &offices{service: serve(t, c), t: t, admin: officeGrant(t, "--admin", "--subject=boss"), calls: make(map[string]*officeCall)}
	o.call("ana", client.Config{RTC: &client.RTC{Channel: "daily", UID: 7, Publisher: true}})
	o.call("ben", client.Config{RTM: "seven", Chat: "sev"})
	for _, one := range o.calls { // a renewed session is in the store
		<-one.causes
	}
	return o
}

// call starts a call whose credential has this subject.
func (o *offices) call(subject string, c client.Config) {
	o.t.Helper()
	credential := officeGrant(o.t, "--subject="+subject, "--channels=*", "--uids=*", "--roles=publisher", "--roles=subscriber", "--rtm-users=*", "--chat-users=*")
	one := &officeCall{causes: make(chan string, 1000), ended: make(chan error, 1)}
	o.calls[subject] = one
	c.URL, c.TTL = "ws://"+o.addr+"/v1/ws", 4*time.Second
	c.Credential = func(context.Context) (string, error) { return credential, nil }
	c.Apply = func(_ context.Context, b client.Tokens) error {
		if b.Action != client.Join {
			one.causes <- b.Cause
		}
		return nil
	}
	caller := client.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { one.ended <- caller.Run(ctx) }()
	o.t.Cleanup(cancel)
}

// command runs `refresher args...` as the operator.
func (o *offices) command(args ...string) (stdout, stderr string, code int) {
	o.t.Helper()
	return run(o.t, []string{"REFRESHER_API_URL=http://" + o.addr, "REFRESHER_CREDENTIAL=" + o.admin}, args...)
}

// sessions runs `refresher sessions args...` as the operator.
func (o *offices) sessions(args ...string) (stdout, stderr string, code int) {
	o.t.Helper()
	return o.command(append([]string{"sessions"}, args...)...)
}

// good runs `refresher sessions args...`, which must succeed.
func (o *offices) good(args ...string) string {
	o.t.Helper()
	return o.works(append([]string{"sessions"}, args...)...)
}

// works runs `refresher args...`, which must succeed and write nothing to stderr.
func (o *offices) works(args ...string) string {
	o.t.Helper()
	stdout, stderr, code := o.command(args...)
	if code != 0 || stderr != "" {
		o.t.Fatalf("%v: exit %d: %s%s", args, code, stdout, stderr)
	}
	return stdout
}

// ids returns the ids of all sessions, by subject.
func (o *offices) ids() map[string]string {
	o.t.Helper()
	found := make(map[string]string)
	for line := range strings.Lines(o.good("list", "--json")) {
		var s struct{ ID, Subject string }
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			o.t.Fatalf("%q: %v", line, err)
		}
		found[s.Subject] = s.ID
	}
	return found
}

// matches checks that a line of the text matches the regular expression `expression`, in which a space matches any
// number of spaces.
func matches(t *testing.T, text, expression string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(expression, " ", ` +`) + ` *$`).MatchString(text) {
		t.Errorf("%s\nhas no line %s", text, expression)
	}
}

func TestOperatorsCommands(t *testing.T) {
	o := openOffices(t)
	defer o.stop(syscall.SIGTERM)
	ids := o.ids()
	if len(ids) != 2 || ids["ana"] == "" || ids["ben"] == "" {
		t.Fatalf("listed %v", ids)
	}

	table := o.good("list")
	matches(t, table, `SESSION STATE WHO SUBJECT NODE EXPIRES NEXT RENEWAL`)
	matches(t, table, ids["ana"]+` attached rtc:"daily"/7\(publisher\) "ana" \S+ -?[0-9]s -?[0-9]s`)
	matches(t, table, ids["ben"]+` attached rtm:"seven" chat:"sev" "ben" \S+ -?[0-9]s -?[0-9]s`)
	if n := strings.Count(table, "\n"); n != 3 {
		t.Errorf("%d lines: %s", n, table)
	}
	for filter, want := range map[string][]string{
		"--channel=daily": {"ana"}, "--channel=dail": nil, "--uid=7": {"ana"}, "--account=sev": {"ben"}, "--subject=ben": {"ben"}, "--max=0": {"ana", "ben"},
	} {
		var got []string
		for subject, id := range ids {
			if strings.Contains(o.good("list", filter), id) {
				got = append(got, subject)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("list %s: %v, want %v", filter, got, want)
		}
	}
	if stdout, stderr, code := o.sessions("list", "--json", "--max=1"); code != 0 || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "stopped after 1") {
		t.Errorf("list --max=1: exit %d: %s%s", code, stdout, stderr)
	}

	for _, filter := range []string{"channel", "account", "subject"} { // as from a shell variable that is not set
		if stdout, stderr, code := o.sessions("list", "--"+filter+"="); code == 0 || !strings.Contains(stderr, filter+": is empty") {
			t.Errorf("list --%s=: exit %d: %s%s", filter, code, stdout, stderr)
		}
	}

	matches(t, o.works("certificates"), `CERTIFICATE NODES SESSIONS DETACHED LAST TOKEN ENDS MAY BE DELETED`)
	matches(t, o.works("certificates"), `[0-9a-f]{8} 1 2 0 -?[0-9]s no: 1 of the nodes sign with it`)
	var report struct{ Certificates []certificateInfo }
	if err := json.Unmarshal([]byte(o.works("certificates", "--json")), &report); err != nil || len(report.Certificates) != 1 || report.Certificates[0].Sessions != 2 {
		t.Errorf("certificates --json: %+v, %v", report, err)
	}

	o.shows(ids["ana"])
	o.renews(ids)
	o.ends(ids)
}

func (o *offices) shows(id string) {
	t := o.t
	shown := o.good("show", id)
	for _, line := range []string{
		"session " + id, "state attached", `who rtc:"daily"/7\(publisher\)`, `subject "ana"`, `node \S+`, "seq [0-9]+",
		"confirmed (true|false)", "last ack .*[0-9]{2}:[0-9]{2}.*", "next renewal .*[0-9]{2}:[0-9]{2}.*",
		"tokens expire .*[0-9]{2}:[0-9]{2}.*", "renewed until .*[0-9]{2}:[0-9]{2}.*",
	} {
		matches(t, shown, line)
	}
	var s struct {
		ID, Node string
		RTC      struct{ UID uint32 }
	}
	if err := json.Unmarshal([]byte(o.good("show", "--json", id)), &s); err != nil || s.ID != id || s.Node == "" || s.RTC.UID != 7 {
		t.Errorf("show --json: %+v, %v", s, err)
	}
	for _, id := range []string{"none", "a/b?c", ".."} {
		if _, stderr, code := o.sessions("show", id); code == 0 || !strings.Contains(stderr, "404") {
			t.Errorf("show %s: exit %d: %s", id, code, stderr)
		}
	}
}

func (o *offices) renews(ids map[string]string) {
	t := o.t
	if said := o.good("renew", ids["ana"]); !strings.Contains(said, "on their way to the client, from node ") {
		t.Errorf("renew: %s", said)
	}
	var done struct{ Pushed bool }
	if err := json.Unmarshal([]byte(o.good("renew", "--json", ids["ben"])), &done); err != nil || !done.Pushed {
		t.Errorf("renew --json: %+v, %v", done, err)
	}
	for _, one := range o.calls {
		for cause := ""; cause != "renew"; {
			cause = <-one.causes
		}
	}
	if _, stderr, code := o.sessions("renew", "none"); code == 0 || !strings.Contains(stderr, "404") {
		t.Errorf("renew none: exit %d: %s", code, stderr)
	}
}

func (o *offices) ends(ids map[string]string) {
	t := o.t
	matches(t, o.good("end", ids["ana"]), `ended; Agora lets its newest tokens in until .*[0-9]{2}:[0-9]{2}.*`)
	if table := o.works("revocations", "list"); table != "REVOCATION  MATCHES  SINCE  UNTIL\n" {
		t.Errorf("a list of no revocations: %s", table)
	}
	revoked := o.works("revoke", "--subject=ben", "--account=sev", "--for=1h")
	for _, line := range []string{
		`matches user:"sev" subject:"ben"`, "since .*[0-9]{2}:[0-9]{2}.*", `until .*\(1h0m.*`, "sessions ended 1", "their tokens end .*[0-9]{2}:[0-9]{2}.*",
		"complete yes: every live node has acted", "classic tokens end .*[0-9]{2}:[0-9]{2}.*",
	} {
		matches(t, revoked, line)
	}
	for subject, one := range o.calls {
		var ended *client.EndedError
		if err := <-one.ended; !errors.As(err, &ended) || ended.Reason != "revoked" {
			t.Errorf("%s's call: %v", subject, err)
		}
	}
	o.liftsRevocation(strings.Fields(revoked)[1])
	if _, stderr, code := o.sessions("end", "none"); code == 0 || !strings.Contains(stderr, "404") {
		t.Errorf("end none: exit %d: %s", code, stderr)
	}
}

// liftsRevocation tests `revocations list`, `show` and `lift` on the revocation that `ends` made.
func (o *offices) liftsRevocation(id string) {
	t := o.t
	matches(t, o.works("revocations", "list"), id+` user:"sev" subject:"ben" .*`)
	matches(t, o.works("revocations", "show", id), "sessions ended 1")
	var shown revocationInfo
	if err := json.Unmarshal([]byte(o.works("revocations", "show", "--json", id)), &shown); err != nil || shown.ID != id || *shown.Ended != 1 || !shown.Complete {
		t.Errorf("revocations show --json: %+v, %v", shown, err)
	}
	if lifted := o.works("revocations", "lift", id); !strings.HasPrefix(lifted, "lifted; ") || strings.Contains(lifted, "complete") {
		t.Errorf("revocations lift: %s", lifted)
	}
	if list := o.works("revocations", "list", "--json"); list != "" {
		t.Errorf("listed after the lift: %s", list)
	}
	for want, args := range map[string][]string{
		"404":                          {"revocations", "lift", "none"},
		"nothing to revoke":            {"revoke", "--for=1h"},
		"whole number of seconds":      {"revoke", "--uid=7", "--for=100ms"},
		"subject: is empty":            {"revoke", "--uid=7", "--subject="},
		"has both uid and account":     {"revoke", "--uid=7", "--account=ana"},
		"unexpected argument everyone": {"revoke", "everyone"},
	} {
		if stdout, stderr, code := o.command(args...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s%s; want %q", args, code, stdout, stderr, want)
		}
	}
}

// Errors name the cause and do not contain the credential.
func TestSessionsCommandsThatFail(t *testing.T) {
	o := openOffices(t)
	defer o.stop(syscall.SIGTERM)
	nobody := officeGrant(t, "--subject=ana", "--channels=*")
	for name, c := range map[string]struct{ url, credential, want string }{
		"no credential":     {"http://" + o.addr, "", "401"},
		"no good one":       {"http://" + o.addr, "hush-hush", "401"},
		"one for calls":     {"http://" + o.addr, nobody, "403"},
		"nobody there":      {"http://127.0.0.1:1", o.admin, "connect"},
		"not an address":    {"hush", o.admin, "REFRESHER_API_URL: want"},
		"another scheme":    {"ftp://" + o.addr, o.admin, "REFRESHER_API_URL: want"},
		"no host":           {"http://", o.admin, "REFRESHER_API_URL: want"},
		"a password in it":  {"http://scott:hush-hush@127.0.0.1:1", o.admin, "connect"},
		"not even an url":   {"http://[hush-hush", o.admin, "REFRESHER_API_URL: want"},
		"something else":    {elsewhere(t, http.StatusOK, "<html>"), o.admin, "makes no sense"},
		"nothing, and says": {elsewhere(t, http.StatusTeapot, "<html>"), o.admin, "418"},
	} {
		for _, args := range [][]string{
			{"sessions", "list"},
			{"sessions", "list", "--json"},
			{"sessions", "show", "x"},
			{"sessions", "renew", "x"},
			{"sessions", "end", "x"},
			{"revoke", "--subject=x"},
			{"revocations", "list"},
			{"certificates"},
		} {
			env := []string{"REFRESHER_API_URL=" + c.url}
			if c.credential != "" {
				env = append(env, "REFRESHER_CREDENTIAL="+c.credential)
			}
			stdout, stderr, code := run(t, env, args...)
			if code == 0 || !strings.Contains(stderr, c.want) {
				t.Errorf("%s, %v: exit %d: %s%s; want %q", name, args, code, stdout, stderr, c.want)
			}
			for _, secret := range []string{"hush-hush", o.admin, nobody} {
				if strings.Contains(stdout+stderr, secret) {
					t.Errorf("%s, %v: a secret was shown: %s%s", name, args, stdout, stderr)
				}
			}
		}
	}
	if _, stderr, code := run(t, nil, "sessions", "show"); code == 0 || !strings.Contains(stderr, "session") {
		t.Errorf("show without an id: exit %d: %s", code, stderr)
	}
	if help, _, code := run(t, []string{"REFRESHER_CREDENTIAL=hush-hush"}, "sessions", "list", "--help"); code != 0 || strings.Contains(help, "hush-hush") {
		t.Errorf("help: exit %d: %s", code, help)
	}
}

// elsewhere returns the URL of a server that answers each request with status and text.
func elsewhere(t *testing.T, status int, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// While the store is unreachable, revoke prints the revocation that one node has applied, and exits with an
// error.
func TestRevokeWhileTheStoreIsAway(t *testing.T) {
	answer := `{"error":"the store cannot be reached: …","code":"unavailable","status":503,
		"done":{"id":"R","subject":"ana","at":1796040000,"until":1796043601,"classicEndsAt":1796126400,"ended":1,"accessEndsAt":1796043600,"complete":false}}`
	env := []string{"REFRESHER_API_URL=" + elsewhere(t, http.StatusServiceUnavailable, answer)}
	stdout, stderr, code := run(t, env, "revoke", "--subject=ana")
	if code == 0 || !strings.Contains(stderr, "503 Service Unavailable: the store cannot be reached") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	matches(t, stdout, "revocation R")
	matches(t, stdout, "complete no; ask again: refresher revocations show R")
}

func TestSessionsOfUnknownTokens(t *testing.T) {
	env := []string{"REFRESHER_API_URL=" + elsewhere(t, http.StatusOK, `{"id":"S","state":"detached","node":"a","ttl":60,"until":1796043600}`)}
	shown, _, _ := run(t, env, "sessions", "show", "S")
	for _, line := range []string{"seq -", "confirmed -", "last ack -", "tokens expire -"} {
		matches(t, shown, line)
	}
	ended, _, _ := run(t, env, "sessions", "end", "S")
	matches(t, ended, "ended; it is not known how long Agora lets its newest tokens in")
}

// The note in an answer is printed.
func TestSessionsCommandsSayWhatIsNotDone(t *testing.T) {
	for answer, c := range map[string]struct{ command, want string }{
		`{"id":"S","applied":false,"stored":true,"pushed":false,"node":"a","note":"node a has not confirmed yet"}`:            {"renew", "nothing was pushed yet\nnote: node a has not confirmed yet\n"},
		`{"id":"S","applied":true,"stored":false,"pushed":true,"node":"a","note":"the store cannot be reached"}`:              {"renew", "new tokens are on their way to the client, from node a\nnote: the store cannot be reached\n"},
		`{"id":"S","applied":false,"stored":true,"node":"a","note":"node a has not confirmed yet","accessEndsAt":1796643600}`: {"end", "\nnote: node a has not confirmed yet\n"},
	} {
		env := []string{"REFRESHER_API_URL=" + elsewhere(t, http.StatusOK, answer)}
		stdout, stderr, code := run(t, env, "sessions", c.command, "S")
		if code != 0 || stderr != "" || !strings.HasSuffix(stdout, c.want) {
			t.Errorf("%s of %s: exit %d: %s%s", c.command, answer, code, stdout, stderr)
		}
		stdout, _, code = run(t, env, "sessions", c.command, "--json", "S")
		var said map[string]any
		if err := json.Unmarshal([]byte(stdout), &said); err != nil || code != 0 || said["note"] == "" {
			t.Errorf("%s --json of %s: exit %d: %s, %v", c.command, answer, code, stdout, err)
		}
	}
}
