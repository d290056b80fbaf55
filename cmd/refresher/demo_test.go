package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"refresher/client"
	"refresher/internal/agora"
	"refresher/internal/session"
	"refresher/web/demo/edge"
)

// decode decodes an answer whose status must be 200.
func decode[T any](t *testing.T, status int, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	return value
}

// rtcToken requests an RTC token for user 7 in the channel "room".
func (s *service) rtcToken(credential string) string {
	s.t.Helper()
	status, text := s.request(http.MethodGet, "/rtc/room/subscriber/uid/7", credential)
	return decode[map[string]string](s.t, status, text)["rtcToken"]
}

// signedBy reports whether a certificate has signed an RTC token for user 7 in the channel "room".
func signedBy(t *testing.T, text, certificate string) bool {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return token.Verify(certificate, agora.Holder{Channel: "room", User: "7"}) == nil
}

// demoCertificates returns the demo's generated certificates; the first one signs.
func (s *service) demoCertificates() []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.cmd.Dir, "*", "*"))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("temporary files %v, %v", files, err)
	}
	for path, want := range map[string]os.FileMode{files[0]: 0o600, filepath.Dir(files[0]): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			s.t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// dialStandIn connects to the stand-in for Agora's edge as a page of this origin would. The function `ask` sends a
// request for user 7 in the channel "room", and returns the code of the answer; 0 means success.
func (s *service) dialStandIn(origin string) (ask func(op, token string) int) {
	s.t.Helper()
	socket, _, err := websocket.Dial(s.t.Context(), "ws://"+s.addr+"/demo/edge", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = socket.CloseNow() })
	id := 0
	return func(op, token string) int {
		s.t.Helper()
		id++
		request := map[string]any{"op": op, "leg": "rtc", "token": token, "id": id}
		if op == "join" {
			request["channel"], request["user"] = "room", "7"
		}
		if err := wsjson.Write(s.t.Context(), socket, request); err != nil {
			s.t.Fatal(err)
		}
		for {
			var answer struct{ ID, Code int }
			if err := wsjson.Read(s.t.Context(), socket, &answer); err != nil {
				s.t.Fatal(err)
			}
			if answer.ID == id {
				return answer.Code
			}
		}
	}
}

// TestDemo runs the demo without any settings, and replaces its certificate while a session lives.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := startCommand(t, command(t, []string{"PORT=0"}, "demo --ops-listen=127.0.0.1:0 --certificate-grace=2s"))
	if !strings.HasPrefix(s.addr, "127.0.0.1:") {
		t.Errorf("listens on %s", s.addr)
	}
	old := s.demoCertificates()[0]
	if status, page := s.request(http.MethodGet, "/", ""); status != http.StatusOK || !strings.Contains(page, "<html") {
		t.Errorf("the page: %d", status)
	}
	if _, metrics := s.request(http.MethodGet, "/demo/metrics", ""); !strings.Contains(metrics, "\nrefresher_sessions{") {
		t.Errorf("metrics: %s", metrics)
	}
	first := s.rtcToken("")
	askEdge := s.dialStandIn("http://" + s.addr)
	if code := askEdge("join", first); code != 0 || !signedBy(t, first, old) {
		t.Errorf("a token of the service: %d", code)
	}
	pushes := make(chan client.Tokens, 10)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.New(client.Config{
			URL: "ws://" + s.addr + "/v1/ws", RTC: &client.RTC{Channel: "room", UID: 7},
			Apply: func(_ context.Context, b client.Tokens) error { pushes <- b; return nil },
		}).Run(ctx)
	}()
	<-pushes

	status, said := s.request(http.MethodPost, "/demo/certificate", "")
	rotation := decode[struct{ Certificate string }](t, status, said)
	now := s.demoCertificates()
	if len(now) != 2 || now[1] != old || !signedBy(t, s.rtcToken(""), now[0]) {
		t.Errorf("%d certificates", len(now))
	}
	var report struct{ Certificates []certificateInfo }
	if err := json.Unmarshal([]byte(works(t, []string{"REFRESHER_API_URL=http://" + s.addr}, "certificates --json")), &report); err != nil ||
		len(report.Certificates) != 2 || report.Certificates[0].Fingerprint != rotation.Certificate {
		t.Errorf("%+v, %v; the demo said %s", report, err, rotation.Certificate)
	}
	if b := <-pushes; b.Cause != string(session.CauseCertificate) || !signedBy(t, b.RTC, now[0]) {
		t.Errorf("pushed for %q", b.Cause)
	}

	s.find(`the old certificate is refused`)
	if code := askEdge("renew", first); code != edge.CodeInvalidToken {
		t.Errorf("the old token: %d", code)
	}
	if code := askEdge("renew", s.rtcToken("")); code != 0 {
		t.Errorf("a new token: %d", code)
	}
	leave()
	<-ended
	s.stop(syscall.SIGHUP) // the demo gets SIGHUP when its terminal is closed
	for _, certificate := range now {
		if strings.Contains(s.said.String()+said, certificate) {
			t.Error("a certificate is shown")
		}
	}
}

func TestDemoSaysWhatThereIs(t *testing.T) {
	const secret = "REFRESHER_JWT_SECRET=" + firstSecret
	for line, c := range map[string]struct {
		env, greeting []string
		real          bool // whether the calls run through Agora itself
		page          int
	}{
		"demo":                    {nil, []string{"tokens live 30s", "made up for this run", "http://ADDRESS/\n", "ws://ADDRESS/v1/ws"}, false, http.StatusOK},
		"demo --base-path=/calls": {nil, []string{"http://ADDRESS/calls/\n"}, false, http.StatusNotFound},
		"demo --token-ttl=1m":     {credentialsEnv, []string{"tokens live 1m0s", "App ID " + appID, "held by Agora;", "--stand-in"}, true, http.StatusOK},
		"demo --stand-in":         {credentialsEnv, []string{"App ID " + appID, "by a stand-in"}, false, http.StatusOK},
		"demo --auth=jwt --allowed-origins=https://a.test": {append(credentialsEnv, secret), []string{"for your page   http://ADDRESS   from https://a.test\n"}, false, http.StatusNotFound},
	} {
		cmd := command(t, c.env, line+" --listen=127.0.0.1:0 --ops-listen=127.0.0.1:0")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		s := startCommand(t, cmd)
		said, lines := "", bufio.NewReader(stdout)
		for !strings.Contains(said, "Ctrl-C") {
			text, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v after %s", line, err, said)
			}
			said += text
		}
		for _, want := range c.greeting {
			if want := strings.ReplaceAll(want, "ADDRESS", s.addr); !strings.Contains(said, want) {
				t.Errorf("%s: no %q in %s", line, want, said)
			}
		}
		demandNoSecret(t, said)
		status, config := s.request(http.MethodGet, "/demo/config.json", "")
		if status != c.page || status == http.StatusOK && decode[map[string]any](t, status, config)["real"] != c.real {
			t.Errorf("%s: %d %s", line, status, config)
		}
		s.stop(os.Interrupt)
	}
}

// A user can replace the demo's page by one of their own: the demo then checks credentials, and the stand-in accepts
// pages of the allowed origins.
func TestDemoForAPageOfOnesOwn(t *testing.T) {
	s := start(t, secretEnv, "demo --auth=jwt --allowed-origins=https://app.example.com")
	if status, _ := s.request(http.MethodGet, "/rtc/room/subscriber/uid/7", ""); status != http.StatusUnauthorized {
		t.Errorf("without a credential: %d", status)
	}
	token := s.rtcToken(grant(t, secretEnv, "--channels=room --uids=7"))
	if code := s.dialStandIn("https://app.example.com")("join", token); code != 0 {
		t.Errorf("the stand-in refuses the token: %d", code)
	}
}

// TestDemoAndCall does what a new user does first: it runs the demo and a call. The stand-in holds the call as long as
// its tokens are valid.
func TestDemoAndCall(t *testing.T) {
	t.Parallel()
	standIn, err := edge.New(edge.Config{AppID: appID, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- standIn.Serve(t.Context(), listener) }()
	t.Cleanup(func() {
		<-served
		standIn.Close()
	})
	demo := start(t, credentialsEnv, "demo --min-ttl=4s")
	said := works(t, nil, "call --url=http://"+demo.addr+" --ttl=4 --renewals=2 --edge="+listener.Addr().String())
	if strings.Count(said, "  renewed ") != 2 || !strings.Contains(said, "2 renewals confirmed") {
		t.Error(said)
	}
	if total := standIn.Record().Total; total.LostSeconds != 0 || total.Drops != 0 || total.RenewalsAccepted != 4 || total.RenewalsRefused != 0 || total.Breaks != 0 {
		t.Errorf("the stand-in saw %+v", total)
	}
}
