package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"refresher/client"
	"refresher/internal/agora"
	"refresher/internal/session"
)

// demoService is a running `refresher demo`.
type demoService struct {
	*service
	temp string // the demo's folder for temporary files
}

func startDemo(t *testing.T, env []string, args ...string) *demoService {
	t.Helper()
	d := &demoService{temp: t.TempDir()}
	args = append([]string{"demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, args...)
	d.service = serve(t, command(t, append([]string{"TMPDIR=" + d.temp}, env...), args...))
	return d
}

// answer is the demo's answer to a request.
type answer struct {
	status int
	header http.Header
	text   string
}

// do sends a request. Unless the parameter `header` sets other headers, the request appears to come from a page of the
// demo's own origin.
func (d *demoService) do(method, path, body string, header ...string) answer {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.addr+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Origin", "http://"+d.addr)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// decode decodes an answer, which must report success.
func decode[T any](t *testing.T, a answer) (value T) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	if err := json.Unmarshal([]byte(a.text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// rtcToken requests an RTC token from the demo's service.
func (d *demoService) rtcToken(user string) string {
	d.t.Helper()
	return decode[map[string]string](d.t, d.do(http.MethodGet, "/rtc/room/publisher/uid/"+user+"/", ""))["rtcToken"]
}

// certificates returns the demo's made-up certificates; the first one signs.
func (d *demoService) certificates() []string {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.temp, "*", "*"))
	if err != nil || len(files) != 1 {
		d.t.Fatalf("temporary files %v, %v", files, err)
	}
	for path, want := range map[string]os.FileMode{files[0]: 0o600, filepath.Dir(files[0]): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			d.t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// edgeLine is a line of the edge's protocol, in either direction.
type edgeLine struct {
	Op      string `json:"op,omitempty"`
	Leg     string `json:"leg,omitempty"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user,omitempty"`
	Token   string `json:"token,omitempty"`
	ID      int64  `json:"id,omitempty"`
	Code    int    `json:"code,omitempty"`
}

// edgeLeg is a client that is connected to the demo's edge.
type edgeLeg struct {
	t      *testing.T
	socket *websocket.Conn
	lastID int64
}

func (d *demoService) edge() *edgeLeg {
	d.t.Helper()
	return d.edgeFrom("http://" + d.addr)
}

// edgeFrom connects to the edge as a page of the given origin would.
func (d *demoService) edgeFrom(origin string) *edgeLeg {
	d.t.Helper()
	socket, _, err := websocket.Dial(d.t.Context(), "ws://"+d.addr+"/demo/edge", &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {origin}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = socket.CloseNow() })
	return &edgeLeg{t: d.t, socket: socket}
}

// ask sends a request to the edge, and returns the code of the answer; 0 means success.
func (e *edgeLeg) ask(op, user, token string) int {
	e.lastID++
	line := edgeLine{Op: op, Leg: "rtc", User: user, Token: token, ID: e.lastID}
	if op == "join" {
		line.Channel = "room"
	}
	text, err := json.Marshal(line)
	if err == nil {
		err = e.socket.Write(e.t.Context(), websocket.MessageText, text)
	}
	for err == nil {
		_, text, err = e.socket.Read(e.t.Context())
		var answer edgeLine
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err == nil && answer.ID == e.lastID {
			return answer.Code
		}
	}
	e.t.Errorf("%s at the edge: %v", op, err)
	return -1
}

// signedWith returns the index of the certificate that signed a token of the given user in the channel "room".
func signedWith(t *testing.T, text, user string, certificates []string) int {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, certificate := range certificates {
		if token.Verify(certificate, agora.Holder{Channel: "room", User: user}) == nil {
			return i
		}
	}
	return -1
}

// TestDemo runs the demo without any settings: it opens the page, holds a session's call at the edge, and
// replaces the certificate meanwhile.
func TestDemo(t *testing.T) {
	d := startDemo(t, nil, "--certificate-grace=2s")
	old := d.certificates()[0]

	page := d.do(http.MethodGet, "/", "")
	if page.status != http.StatusOK || !strings.Contains(page.text, "<html") || !strings.Contains(page.header.Get("Content-Security-Policy"), "connect-src 'self';") {
		t.Fatalf("%d %v", page.status, page.header)
	}
	config := d.do(http.MethodGet, "/demo/config.json", "")
	about := decode[map[string]any](t, config)
	appID, _ := about["appId"].(string)
	version, _ := about["version"].(string)
	want := map[string]any{"appId": appID, "real": false, "canRotate": true, "ttl": 30.0, "minTtl": 10.0, "maxTtl": 86400.0, "warnBefore": 6.0, "version": version}
	if diff := cmp.Diff(want, about); diff != "" || agora.CheckCertificate(appID) != nil || version == "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if metrics := d.do(http.MethodGet, "/demo/metrics", ""); !strings.Contains(metrics.text, "\nrefresher_sessions{") {
		t.Errorf("metrics: %s", metrics.text)
	}

	// A call with a token from the classic API, whose app never renews it; and a call with a forged token.
	first := d.rtcToken("8")
	forger, err := agora.NewMinter(appID, strings.Repeat("0", 32))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := forger.Mint(session.Identity{RTC: &session.RTC{Channel: "room", UID: 9}}, session.Format007, session.SecOf(time.Now()), session.SecOf(time.Now())+30)
	if err != nil {
		t.Fatal(err)
	}
	classic := d.edge()
	if code := d.edge().ask("join", "9", forged.RTC); code != 110 {
		t.Errorf("a forged token: %d", code)
	}
	if code := classic.ask("join", "8", first); code != 0 {
		t.Errorf("a classic token: %d", code)
	}

	// This session gives its tokens to the edge as they arrive.
	pushes := make(chan client.Tokens, 10)
	keep, leave := context.WithCancel(t.Context())
	held := d.edge()
	kept := client.New(client.Config{
		URL: "ws://" + d.addr + "/v1/ws",
		RTC: &client.RTC{Channel: "room", UID: 7, Publisher: true},
		Apply: func(_ context.Context, b client.Tokens) error {
			op, user := "renew", ""
			if b.Action == client.Join {
				op, user = "join", "7"
			}
			if code := held.ask(op, user, b.RTC); code != 0 {
				return fmt.Errorf("the edge said %d", code)
			}
			pushes <- b
			return nil
		},
	})
	done := make(chan error, 1)
	go func() { done <- kept.Run(keep) }()
	if b := <-pushes; b.Action != client.Join || signedWith(t, b.RTC, "7", []string{old}) != 0 {
		t.Errorf("joined: %+v", b.Cause)
	}

	// After a replacement of the certificate, the service signs with the new one at once.
	type rotated struct {
		Certificate  string
		OldRefusedAt int64
	}
	replaced := d.do(http.MethodPost, "/demo/certificate", "")
	rotation := decode[rotated](t, replaced)
	now := d.certificates()
	if len(now) != 2 || now[1] != old || signedWith(t, d.rtcToken("8"), "8", now) != 0 {
		t.Fatalf("%d certificates", len(now))
	}
	if again := d.do(http.MethodPost, "/demo/certificate", ""); again.status != http.StatusConflict || again.header.Get("Retry-After") == "" {
		t.Errorf("again: %d %s", again.status, again.text)
	}
	type report struct {
		Certificates []struct{ Fingerprint string }
	}
	asked := d.do(http.MethodGet, "/v1/certificates", "")
	if r := decode[report](t, asked); len(r.Certificates) != 2 || r.Certificates[0].Fingerprint != rotation.Certificate {
		t.Errorf("%+v; the demo said %s", r.Certificates, rotation.Certificate)
	}
	if b := <-pushes; b.Cause != string(session.CauseCertificate) || signedWith(t, b.RTC, "7", now) != 0 {
		t.Errorf("pushed for %q", b.Cause)
	}

	// When the edge begins to refuse the old certificate, the session already has tokens that the new certificate
	// signed. The call with the classic token needs a new token.
	d.find(`the old certificate is refused`)
	if ahead := time.Until(time.Unix(rotation.OldRefusedAt, 0)); ahead > 0 {
		t.Errorf("refused %s before it was said to be", ahead)
	}
	if code := classic.ask("renew", "", first); code != 110 {
		t.Errorf("the old token: %d", code)
	}
	if code := d.edge().ask("join", "8", first); code != 110 {
		t.Errorf("the old token in a join: %d", code)
	}
	if code := classic.ask("renew", "", d.rtcToken("8")); code != 0 {
		t.Errorf("a new token: %d", code)
	}

	log := d.end(os.Interrupt)
	leave()
	<-done
	for _, certificate := range now {
		for name, said := range map[string]string{"log": log, "page": page.text, "config": config.text, "answer": replaced.text} {
			if strings.Contains(said, certificate) {
				t.Errorf("a certificate is in the %s", name)
			}
		}
	}
}

// end stops the demo, which must end quickly and remove its files.
func (d *demoService) end(signal os.Signal) (log string) {
	d.t.Helper()
	began := time.Now()
	log = d.stop(signal)
	if took := time.Since(began); took > 8*time.Second {
		d.t.Errorf("took %s to stop", took)
	}
	if left, err := os.ReadDir(d.temp); err != nil || len(left) != 0 {
		d.t.Errorf("left behind: %v, %v", left, err)
	}
	if !strings.Contains(log, `"stopped"`) {
		d.t.Errorf("the log ends with %s", log)
	}
	return log
}

func TestDemoEndsWithItsTerminal(t *testing.T) {
	d := startDemo(t, nil)
	d.edge()
	d.end(syscall.SIGHUP)
}

func TestDemoWithAnAgoraProject(t *testing.T) {
	for _, standIn := range []bool{false, true} {
		var args []string
		if standIn {
			args = []string{"--stand-in"}
		}
		d := startDemo(t, credentialsEnv, args...)
		about := decode[map[string]any](t, d.do(http.MethodGet, "/demo/config.json", ""))
		if about["appId"] != appID || about["real"] != !standIn || about["canRotate"] != false {
			t.Errorf("stand-in %v: %v", standIn, about)
		}
		if policy := d.do(http.MethodGet, "/", "").header.Get("Content-Security-Policy"); strings.Contains(policy, "agora.io") == standIn {
			t.Errorf("stand-in %v: policy %s", standIn, policy)
		}
		if a := d.do(http.MethodPost, "/demo/certificate", ""); a.status != http.StatusConflict || !strings.Contains(a.text, "Agora") {
			t.Errorf("stand-in %v: %d %s", standIn, a.status, a.text)
		}
		if standIn {
			if code := d.edge().ask("join", "7", d.rtcToken("7")); code != 0 {
				t.Errorf("a token of the project at the stand-in: %d", code)
			}
		} else if a := d.do(http.MethodGet, "/demo/edge", ""); a.status != http.StatusNotFound {
			t.Errorf("an edge beside Agora's: %d", a.status)
		}
		d.end(os.Interrupt)
	}
}

func TestDemoIsForItsOwnPage(t *testing.T) {
	d := startDemo(t, nil)
	handshake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
	for _, c := range []struct {
		method, path string
		header       []string
		want         int
	}{
		{http.MethodPost, "/demo/certificate", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{http.MethodPost, "/demo/certificate", []string{"Origin", "null"}, http.StatusForbidden},
		{http.MethodPost, "/demo/certificate", []string{"Origin", "http://evil.example", "Host", "evil.example"}, http.StatusMisdirectedRequest},
		{http.MethodGet, "/demo/config.json", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{http.MethodGet, "/demo/metrics", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{http.MethodGet, "/demo/edge", append([]string{"Origin", "https://evil.example"}, handshake...), http.StatusForbidden},
		{http.MethodGet, "/demo/edge", append([]string{"Origin", "http://evil.example", "Host", "evil.example"}, handshake...), http.StatusMisdirectedRequest},
	} {
		a := d.do(c.method, c.path, "", c.header...)
		if a.status != c.want || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.header, a.status, a.text)
		}
	}
	if n := len(d.certificates()); n != 1 {
		t.Errorf("%d certificates: one was made for somebody", n)
	}
	d.end(os.Interrupt)
}

// For the user's own page, the demo checks credentials. Pages of the allowed origins can use the service and
// the stand-in, which accepts the service's tokens.
func TestDemoForAPageOfOnesOwn(t *testing.T) {
	const secret, from = "0123456789abcdef0123456789abcdef", "https://app.example.com"
	env := []string{"REFRESHER_JWT_SECRET=" + secret}
	d := startDemo(t, env, "--auth=jwt", "--allowed-origins="+from)
	if a := d.do(http.MethodGet, "/demo/config.json", ""); a.status != http.StatusNotFound {
		t.Errorf("the page's settings: %d", a.status)
	}
	if a := d.do(http.MethodGet, "/rtc/room/publisher/uid/7/", ""); a.status != http.StatusUnauthorized {
		t.Errorf("without a credential: %d", a.status)
	}
	credential, _, _ := run(t, env, "token", "grant", "--subject=ana", "--channels=room", "--uids=7", "--roles=publisher")
	token := decode[map[string]string](t, d.do(http.MethodGet, "/rtc/room/publisher/uid/7/", "", "Origin", from, "Authorization", "Bearer "+strings.TrimSpace(credential)))["rtcToken"]
	if code := d.edgeFrom(from).ask("join", "7", token); code != 0 {
		t.Errorf("the stand-in refuses the token: %d", code)
	}
	d.end(os.Interrupt)
}

func TestDemoSaysWhatThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		env, args, want []string
	}{
		"made up":  {nil, nil, []string{"tokens live 30s", "made up for this run", "stand-in"}},
		"real":     {credentialsEnv, nil, []string{"App ID " + appID, "held by Agora;", "--stand-in"}},
		"stand-in": {credentialsEnv, []string{"--stand-in", "--token-ttl=1m"}, []string{"tokens live 1m0s", "App ID " + appID, "by a stand-in"}},
	} {
		cmd := command(t, c.env, append([]string{"demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, c.args...)...)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		d := &demoService{service: serve(t, cmd), temp: t.TempDir()}
		said, lines := "", bufio.NewReader(stdout)
		for !strings.Contains(said, "Ctrl-C") {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v after %s", name, err, said)
			}
			said += line
		}
		for _, want := range append(c.want, "http://"+d.addr+"/\n", "ws://"+d.addr+"/v1/ws") {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %q in %s", name, want, said)
			}
		}
		if strings.Contains(said, certificate) {
			t.Errorf("%s: the certificate is shown", name)
		}
		d.end(os.Interrupt)
	}
}

func TestDemoRefusesWrongSettings(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no grace":        {nil, []string{"--certificate-grace=0"}, "--certificate-grace"},
		"bad certificate": {[]string{"APP_ID=" + appID, "APP_CERTIFICATE=hush-hush"}, []string{"--stand-in"}, "APP_CERTIFICATE: 9 characters long"},
		"bad app id":      {[]string{"APP_ID=xyz", "APP_CERTIFICATE=" + certificate}, []string{"--stand-in"}, "APP_ID: 3 characters long"},
		"half of both":    {[]string{"APP_ID=" + appID}, nil, "--app-certificate (or AGORA_APP_CERTIFICATE) is missing"},
		"no lifetime":     {nil, []string{"--token-ttl=0s"}, "token-ttl: "},
		"too short a one": {nil, []string{"--token-ttl=2s"}, "token-ttl: "},
	} {
		temp := t.TempDir()
		env := append([]string{"TMPDIR=" + temp}, c.env...)
		_, stderr, code := run(t, env, append([]string{"demo", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, c.args...)...)
		if code == 0 || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "hush-hush") {
			t.Errorf("%s: exit %d, %s", name, code, stderr)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}
