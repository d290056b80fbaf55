package redis

import (
	"errors"
	"strings"
	"testing"

	"refresher/test/redistest"
)

func TestConnections(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t)
	secure, ca := redistest.StartTLS(t)
	locked := redistest.Start(t, "requirepass hunter2")
	for name, connect := range map[string]struct{ url, ca string }{
		"TCP":           {url: plain.URL()},
		"Unix socket":   {url: plain.UnixURL()},
		"TLS":           {url: secure.URL(), ca: ca},
		"password":      {url: strings.Replace(locked.URL(), "://", "://:hunter2@", 1)},
		"number":        {url: plain.URL() + "/3"},
		"socket number": {url: plain.UnixURL() + "?db=4"},
	} {
		t.Run(name, func(t *testing.T) {
			open(t, connect.url, func(c *Config) { c.CAFile = connect.ca }).allWork(t)
		})
	}
	if got := plain.Do("INFO", "keyspace"); !strings.Contains(got, "db3:") || !strings.Contains(got, "db4:") {
		t.Errorf("databases in use: %s", got)
	}
}

// TestRefusedConnections checks that no error contains the password.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	secure, _ := redistest.StartTLS(t)
	_, other := redistest.StartTLS(t)
	locked := redistest.Start(t, "requirepass right")
	gone := redistest.Start(t)
	gone.Kill()
	with := func(server *redistest.Server, user string) string {
		return strings.Replace(server.URL(), "://", "://"+user+"@", 1)
	}
	for name, connect := range map[string]struct{ url, ca, want string }{
		"TLS, unknown authority": {url: with(secure, ":hunter2"), want: "certificate signed by unknown authority"},
		"TLS, other authority":   {url: with(secure, ":hunter2"), ca: other, want: "certificate signed by unknown authority"},
		"plain to TLS":           {url: strings.Replace(with(secure, ":hunter2"), "rediss:", "redis:", 1), want: "EOF"},
		"wrong password":         {url: with(locked, ":hunter2"), want: "WRONGPASS"},
		"wrong user":             {url: with(locked, "somebody:hunter2"), want: "WRONGPASS"},
		"no password":            {url: locked.URL(), want: "NOAUTH"},
		"gone":                   {url: with(gone, ":hunter2"), want: "connection refused"},
		"no such database":       {url: with(redistest.Start(t), "default:hunter2") + "/99", want: "DB index is out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, connect.url, func(c *Config) { c.CAFile = connect.ca })
			_, err := s.sweep(within(t), "a")
			if err == nil || !strings.Contains(err.Error(), connect.want) {
				t.Errorf("%v, want %s", err, connect.want)
			}
			if err = errors.Join(err, s.tryAll(within(t))); strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}
