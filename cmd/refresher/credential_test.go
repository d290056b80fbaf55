package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var secretEnv = []string{"REFRESHER_JWT_SECRET=" + firstSecret}

// payload returns a credential's claims without its times, and its lifetime in seconds.
func payload(t *testing.T, credential string) (said map[string]any, life int64) {
	t.Helper()
	parts := strings.Split(credential, ".")
	if len(parts) != 3 {
		t.Fatalf("made %q", credential)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	from, to := said["iat"].(float64), said["exp"].(float64)
	if age := time.Now().Unix() - int64(from); age < 0 || age > 60 {
		t.Errorf("issued %d s ago", age)
	}
	delete(said, "iat")
	delete(said, "exp")
	return said, int64(to - from)
}

func TestGrant(t *testing.T) {
	type object = map[string]any
	list := func(names ...any) []any { return names }
	for _, c := range []struct {
		args []string
		life int64
		want object
	}{
		{nil, 3600, object{}},
		{[]string{"--token-format=007-single"}, 3600, object{"grants": object{"tokenFormat": "007-single"}}},
		{[]string{"--admin", "--ttl=5m"}, 300, object{"scope": "admin"}},
		{[]string{"--subject=ana", "--app-id=" + appID, "--jwt-audience=calls", "--jwt-issuer=login"}, 3600, object{"sub": "ana", "app": appID, "aud": "calls", "iss": "login"}},
		{
			[]string{"--channels=daily-*,weekly", "--uids=1001,10*"},
			3600,
			object{"grants": object{"rtc": object{"channels": list("daily-*", "weekly"), "uids": list("1001", "10*"), "roles": list("subscriber")}}},
		},
		{
			[]string{"--channels=c", "--accounts=ana", "--roles=publisher,subscriber"},
			3600,
			object{"grants": object{"rtc": object{"channels": list("c"), "accounts": list("ana"), "roles": list("publisher", "subscriber")}}},
		},
		{
			[]string{"--rtm-users=ana,bob", "--chat-users=*", "--max-ttl=10m", "--until=2099-01-02t15:04:05z"},
			3600,
			object{"grants": object{"rtm": object{"users": list("ana", "bob")}, "chat": object{"users": list("*")}, "maxTtl": 600., "until": 4071049445.}},
		},
	} {
		got, life := payload(t, grantBy(t, secretEnv, c.args...))
		if diff := cmp.Diff(c.want, got); diff != "" || life != c.life {
			t.Errorf("%q: good for %d s: %s", c.args, life, diff)
		}
	}
	got, _ := payload(t, grantBy(t, secretEnv, "--until=8h"))
	if left := int64(got["grants"].(object)["until"].(float64)) - time.Now().Unix(); left < 8*3600-60 || left > 8*3600 {
		t.Errorf("until in %d s", left)
	}
}

func TestGrantRefusals(t *testing.T) {
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, nil, "--jwt-secret (or REFRESHER_JWT_SECRET) is missing"},
		{[]string{"REFRESHER_JWT_SECRET=hush-hush"}, nil, "REFRESHER_JWT_SECRET: has 9 bytes; want at least 32"},
		{secretEnv, []string{"--roles=admin"}, "publisher"},
		{secretEnv, []string{"--token-format=005"}, "007-single"},
		{secretEnv, []string{"--uids=ana"}, "--uids: want a list of uids"},
		{secretEnv, []string{"--uids=-1"}, "uids"},
		{secretEnv, []string{"--uids=4294967296"}, "uids"},
		{secretEnv, []string{"--until=tomorrow"}, "--until: want"},
		{secretEnv, []string{"--until=-8h"}, "--until"},
		{secretEnv, []string{"--ttl=1500ms"}, "ttl: want whole seconds"},
		{secretEnv, []string{"--ttl=-1h"}, "ttl"},
		{secretEnv, []string{"--max-ttl=1500ms"}, "max-ttl: want whole seconds"},
		{secretEnv, []string{"--subject=" + strings.Repeat("x", 256)}, "sub"},
		{secretEnv, []string{"--channels=" + strings.Repeat("x", 256)}, "channels"},
	} {
		stdout, stderr, code := run(t, c.env, append([]string{"token", "grant"}, c.args...)...)
		if code == 0 || strings.Contains(stdout, "eyJ") || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, said %q; want %q", c.args, code, stdout+stderr, c.want)
		}
		if strings.Contains(stdout+stderr, "hush-hush") {
			t.Errorf("%q: shows the secret: %s", c.args, stderr)
		}
	}
}

// The service accepts a granted credential for what it grants, and for nothing else.
func TestServeTakesWhatIsGranted(t *testing.T) {
	s := serve(t, command(t, append(secretEnv, credentialsEnv...), "serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0"))
	credential := grantBy(t, secretEnv, "--channels=daily-*", "--uids=7", "--max-ttl=60s")
	admin := grantBy(t, secretEnv, "--admin")
	for _, c := range []struct {
		path, credential string
		status           int
	}{
		{"/rtc/daily-1/subscriber/uid/7", credential, http.StatusOK},
		{"/rtc/daily-1/subscriber/uid/7?expiry=60", credential, http.StatusOK},
		{"/rtc/daily-1/subscriber/uid/7?expiry=61", credential, http.StatusForbidden},
		{"/rtc/daily-1/publisher/uid/7", credential, http.StatusForbidden},
		{"/rtc/weekly/subscriber/uid/7", credential, http.StatusForbidden},
		{"/rtc/daily-1/subscriber/uid/8", credential, http.StatusForbidden},
		{"/rtm/7", credential, http.StatusForbidden},
		{"/v1/sessions", credential, http.StatusForbidden},
		{"/v1/sessions", admin, http.StatusOK},
		{"/rtc/daily-1/subscriber/uid/7", admin, http.StatusForbidden}, // a credential for operators cannot request tokens
		{"/v1/sessions", grantBy(t, []string{"REFRESHER_JWT_SECRET=" + otherSecret}, "--admin"), http.StatusUnauthorized},
		{"/v1/sessions", "", http.StatusUnauthorized},
	} {
		if status, text := s.get(c.path, c.credential); status != c.status {
			t.Errorf("%s: %d %s, want %d", c.path, status, text, c.status)
		}
	}
	rest := s.stop(syscall.SIGTERM)
	for _, secret := range []string{credential, admin, firstSecret, certificate} {
		if strings.Contains(rest, secret) {
			t.Errorf("the log shows a secret: %s", rest)
		}
	}
}
