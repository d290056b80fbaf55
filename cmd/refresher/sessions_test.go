package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/client"
)

// heldCall is a call of the Go client whose tokens have a lifetime of 4 s.
type heldCall struct {
	t        *testing.T
	renewals chan string // causes
	ended    chan error  // errors that ended a connection or the whole call
}

func hold(t *testing.T, s *service, credential string, c client.Config) *heldCall {
	t.Helper()
	h := &heldCall{t: t, renewals: make(chan string, 1000), ended: make(chan error, 1000)}
	c.URL, c.TTL = "ws://"+s.addr+"/v1/ws", 4*time.Second
	c.Credential = func(context.Context) (string, error) { return credential, nil }
	c.Apply = func(_ context.Context, b client.Tokens) error {
		if b.Action != client.Join {
			h.renewals <- b.Cause
		}
		return nil
	}
	c.Notify = func(e client.Event) {
		if e.Kind == client.Lost {
			h.ended <- e.Err
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ended <- client.New(c).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h
}

// awaitRenewal waits for a renewal with this cause. The call must not lose its connection before that renewal.
func (h *heldCall) awaitRenewal(cause string) {
	h.t.Helper()
	for {
		select {
		case got := <-h.renewals:
			if got == cause {
				return
			}
		case err := <-h.ended:
			h.t.Fatalf("the call was cut: %v", err)
		}
	}
}

// awaitRevocation waits until the service has ended the call because of a revocation.
func (h *heldCall) awaitRevocation() {
	h.t.Helper()
	var ended *client.EndedError
	if err := <-h.ended; !errors.As(err, &ended) || ended.Reason != "revoked" {
		h.t.Errorf("ended with %v", err)
	}
}

// TestOperatorsCommands runs the commands against a service with two calls.
func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	s := start(t, append(secretEnv, credentialsEnv...), "serve --min-ttl=4s")
	operator := []string{"REFRESHER_API_URL=http://" + s.addr, "REFRESHER_CREDENTIAL=" + grant(t, secretEnv, "--admin")}
	grants := " --channels=* --uids=* --roles=publisher --rtm-users=* --chat-users=*"
	ana := hold(t, s, grant(t, secretEnv, "--subject=ana"+grants), client.Config{RTC: &client.RTC{Channel: "daily", UID: 7, Publisher: true}})
	ben := hold(t, s, grant(t, secretEnv, "--subject=ben"+grants), client.Config{RTM: "seven", Chat: "sev"})
	ana.awaitRenewal("schedule") // once a session was renewed, it is certainly in the store
	ben.awaitRenewal("schedule")

	table := works(t, operator, "sessions list")
	matches(t, table, `SESSION STATE WHO SUBJECT NODE EXPIRES NEXT RENEWAL`)
	matches(t, table, `\S+ attached rtm:"seven" chat:"sev" "ben" \S+ -?[0-9]s -?[0-9]s`)
	if stdout, stderr, code := run(t, operator, "sessions list --json --max=1"); code != 0 || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "stopped after 1") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	var listed struct{ ID, Subject string }
	if err := json.Unmarshal([]byte(works(t, operator, "sessions list --json --uid=7")), &listed); err != nil || listed.Subject != "ana" {
		t.Fatalf("%+v, %v", listed, err)
	}
	const moment = ".*[0-9]{2}:[0-9]{2}.*"
	shown := works(t, operator, "sessions show "+listed.ID)
	for _, line := range []string{
		"session " + listed.ID, "state attached", `who rtc:"daily"/7\(publisher\)`, `subject "ana"`, `node \S+`, "seq [0-9]+", "confirmed (true|false)",
		"last ack (-|" + moment + ")", "next renewal " + moment, "tokens expire " + moment, "renewed until " + moment,
	} {
		matches(t, shown, line)
	}
	matches(t, works(t, operator, "certificates"), `CERTIFICATE NODES SESSIONS DETACHED LAST TOKEN ENDS MAY BE DELETED`)
	matches(t, works(t, operator, "certificates"), `[0-9a-f]{8} 1 2 0 -?[0-9]s no: 1 of the nodes sign with it`)

	matches(t, works(t, operator, "sessions renew "+listed.ID), `new tokens are on their way to the client, from node \S+`)
	ana.awaitRenewal("renew")
	matches(t, works(t, operator, "sessions end "+listed.ID), "ended; Agora lets its newest tokens in until "+moment)
	ana.awaitRevocation()

	revoked := works(t, operator, "revoke --subject=ben --account=sev --for=1h")
	for _, line := range []string{
		`matches user:"sev" subject:"ben"`, "since " + moment, `until .*\(1h0m.*`, "sessions ended 1", "their tokens end " + moment,
		"complete yes: every live node has acted", "classic tokens end " + moment,
	} {
		matches(t, revoked, line)
	}
	ben.awaitRevocation()
	id := strings.Fields(revoked)[1]
	matches(t, works(t, operator, "revocations list"), id+` user:"sev" subject:"ben" .*`)
	matches(t, works(t, operator, "revocations show "+id), "sessions ended 1")
	if lifted := works(t, operator, "revocations lift "+id); !strings.HasPrefix(lifted, "lifted; ") || strings.Contains(lifted, "complete") {
		t.Errorf("lifted: %s", lifted)
	}
	if list := works(t, operator, "revocations list --json"); list != "" {
		t.Errorf("listed after the lift: %s", list)
	}
}

// exchange is a request that a command must send, and the answer that it gets.
type exchange struct {
	request string // method, path with query, and body
	status  int
	answer  string
}

// apiOf starts an HTTP server that expects these requests in turn, and returns the environment with its URL.
func apiOf(t *testing.T, exchanges ...exchange) []string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if diff := cmp.Diff(exchanges[0].request, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body))); diff != "" || err != nil {
			t.Errorf("%v, %s", err, diff)
		}
		w.WriteHeader(exchanges[0].status)
		fmt.Fprint(w, exchanges[0].answer)
		exchanges = exchanges[1:]
	}))
	t.Cleanup(func() {
		s.Close()
		if len(exchanges) > 0 {
			t.Errorf("not sent: %v", exchanges)
		}
	})
	return []string{"REFRESHER_API_URL=" + s.URL + "/v1/ws"}
}

func TestRequestsAndAnswersOfTheAPI(t *testing.T) {
	const unknown = `{"id":"S","state":"detached","node":"a","rtc":{"channel":"c","account":"ana","role":"subscriber"},"ttl":60,"until":1796043600}`
	const revoked = `"id":"R","subject":"ana","at":1796040000,"until":1796043601,"classicEndsAt":1796126400,"ended":1,"accessEndsAt":1796043600`
	const away = `{"error":"Redis cannot be reached","status":503,"done":{` + revoked + `,"complete":false}}`
	for _, c := range []struct {
		line   string
		api    []exchange
		stdout string
		stderr string
	}{
		{"sessions list --channel=c --uid=7 --account= --subject=ana --json", []exchange{
			{"GET /v1/sessions?account=&channel=c&limit=200&subject=ana&uid=7", 200, `{"sessions":[{"id":"S"}],"cursor":"next"}`},
			{"GET /v1/sessions?account=&channel=c&cursor=next&limit=200&subject=ana&uid=7", 200, `{"sessions":[{"id":"T"}]}`},
		}, `{"id":"S"}` + "\n" + `{"id":"T"}` + "\n", ""},
		{"sessions list", []exchange{{"GET /v1/sessions?limit=200", 200, "<html>"}}, "", "cannot be decoded"},
		{"sessions list", []exchange{{"GET /v1/sessions?limit=200", 401, `{"error":"no credential"}`}}, "", "the service answers 401 Unauthorized: no credential"},
		{"sessions list", []exchange{{"GET /v1/sessions?limit=200", 418, "<html>"}}, "", "418"},
		{"sessions show a/b?c", []exchange{{"GET /v1/sessions/a%2Fb%3Fc", 200, unknown}}, "who            rtc:\"c\"/ana(subscriber)\n", ""},
		{"sessions show S", []exchange{{"GET /v1/sessions/S", 200, unknown}}, "seq            -\nconfirmed      -\nlast ack       -\nnext renewal   -\ntokens expire  -\n", ""},
		{"sessions show --json S", []exchange{{"GET /v1/sessions/S", 200, unknown}}, `"state": "detached"`, ""},
		{
			"sessions renew S",
			[]exchange{{`PATCH /v1/sessions/S {"renew":true}`, 200, `{"pushed":false,"note":"node a has not confirmed yet"}`}},
			"nothing was pushed yet\nnote: node a has not confirmed yet\n", "",
		},
		{"sessions end S", []exchange{{"DELETE /v1/sessions/S", 200, unknown}}, "ended; it is not known how long Agora lets its newest tokens in\n", ""},
		{
			"sessions end S",
			[]exchange{{"DELETE /v1/sessions/S", 200, `{"note":"node a has not confirmed yet","accessEndsAt":1796643600}`}},
			"\nnote: node a has not confirmed yet\n", "",
		},
		{
			"revoke --channel=c --uid=7 --account= --subject=ana --for=1m",
			[]exchange{{`POST /v1/revocations {"account":"","channel":"c","for":60,"subject":"ana","uid":7}`, 200, `{` + revoked + `,"waitingFor":["a","b"]}`}},
			"complete            no: waiting for a, b\n", "",
		},
		{
			"revoke --subject=ana",
			[]exchange{{`POST /v1/revocations {"subject":"ana"}`, 503, away}},
			"complete            no; ask again: refresher revocations show R\n", "503 Service Unavailable: Redis cannot be reached",
		},
		{"revocations lift --json a/b", []exchange{{"DELETE /v1/revocations/a%2Fb", 503, away}}, `"id": "R"`, "Redis cannot be reached"},
		{"certificates", []exchange{{"GET /v1/certificates", 200, `{"certificates":[{"fingerprint":"f","mayBeDeleted":true,"why":"w"}],"partial":true}`}}, "yes: w\n", "there was no time to count all sessions"},
	} {
		t.Run(c.line, func(t *testing.T) {
			stdout, stderr, _ := run(t, apiOf(t, c.api...), c.line)
			if !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
				t.Errorf("%s%s; want %q and %q", stdout, stderr, c.stdout, c.stderr)
			}
		})
	}
}

// Errors name the cause, and contain neither the credential nor a password in the URL.
func TestServiceThatCannotBeReached(t *testing.T) {
	for url, want := range map[string]string{
		"http://scott:hush-hush@127.0.0.1:1": "connect",
		"hush":                               "REFRESHER_API_URL: want",
		"ftp://127.0.0.1":                    "REFRESHER_API_URL: want",
		"http://":                            "REFRESHER_API_URL: want",
		"http://[hush-hush":                  "REFRESHER_API_URL: want",
	} {
		stdout, stderr, code := run(t, []string{"REFRESHER_API_URL=" + url, "REFRESHER_CREDENTIAL=hush-hush"}, "sessions list")
		if code == 0 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s%s; want only %q", url, code, stdout, stderr, want)
		}
		demandNoSecret(t, stderr)
	}
}
