package redis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refresher/test/redistest"
)

func secured(a *redistest.Authority) func(*Config) {
	certFile, keyFile := a.Issue("refresher")
	return func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = a.CAFile, certFile, keyFile }
}

func TestServersAreVerifiedByTheNameDialled(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := func(host string) *redistest.Server { return redistest.StartTLSFor(t, a, host) }
	byAddress, byName, elsewhere := server("127.0.0.1"), server("localhost"), server("redis.example.com")
	named := func(s *redistest.Server) string { return strings.Replace(s.URL(), "127.0.0.1", "localhost", 1) }
	for name, c := range map[string]struct{ url, want string }{
		"address":                   {byAddress.URL(), ""},
		"name":                      {named(byName), ""},
		"name, for the address":     {named(byAddress), "certificate is not valid for any names"},
		"address, for the name":     {byName.URL(), "doesn't contain any IP SANs"},
		"other name":                {named(elsewhere), "certificate is valid for redis.example.com, not localhost"},
		"other name, expected":      {elsewhere.URL() + "?server_name=redis.example.com", ""},
		"cluster, other name":       {strings.Replace(named(elsewhere), "rediss:", "rediss+cluster:", 1), "certificate is valid for redis.example.com, not localhost"},
		"sentinel, other name":      {strings.Replace(named(elsewhere), "rediss:", "rediss+sentinel:", 1) + "?master_name=main", "certificate is valid for redis.example.com, not localhost"},
		"sentinel, other, expected": {strings.Replace(elsewhere.URL(), "rediss:", "rediss+sentinel:", 1) + "?server_name=redis.example.com&master_name=main", "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.url, secured(a)).sweep(within(t), "a")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

func TestReplacedClientCertificateIsUsed(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1")
	certFile, keyFile := filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")
	replace := func(fromCert, fromKey string) {
		t.Helper()
		must(t, errors.Join(os.Rename(fromCert, certFile), os.Rename(fromKey, keyFile)))
	}
	replace(redistest.NewAuthority(t).Issue("refresher"))
	s := open(t, server.URL(), func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = a.CAFile, certFile, keyFile })
	if _, err := s.sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), "tls: ") {
		t.Errorf("with another authority's certificate: %v", err)
	}
	replace(a.Issue("refresher"))
	s.allWork(t)
	must(t, os.WriteFile(certFile, []byte("half of"), 0o600))
	for range 2 {
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		s.again(t)
	}
	if lines := s.log.lines("the client certificate for Redis cannot be read"); len(lines) != 1 || !strings.Contains(lines[0], certFile) {
		t.Errorf("logged %q", lines)
	}
}

func TestSettingsOfTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := redistest.NewAuthority(t).Issue("refresher")
	none := filepath.Join(t.TempDir(), "none.pem")
	must(t, os.WriteFile(none, []byte("-----BEGIN NOTHING-----\n"), 0o600))
	const plain = ": set, but redis-url does not ask for TLS; want rediss://"
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"no key":              {Config{URL: "rediss://h", CertFile: certFile}, "redis-cert-file, redis-key-file: want both or none"},
		"certificate, no TLS": {Config{URL: "redis://h", CertFile: certFile, KeyFile: keyFile}, "redis-cert-file" + plain},
		"authority, no TLS":   {Config{URL: "redis+cluster://h", CAFile: certFile}, "redis-ca-file" + plain},
		"server_name, no TLS": {Config{URL: "redis://h?server_name=x"}, "redis-url: server_name" + plain},
		"no authority":        {Config{URL: "rediss://user:hunter2@host", CAFile: "/nowhere"}, "redis-ca-file: open /nowhere: no such file or directory"},
		"an empty authority":  {Config{URL: "rediss://user:hunter2@host", CAFile: none}, "redis-ca-file: " + none + " holds no certificate in PEM"},
		"not a pair":          {Config{URL: "rediss://h", CertFile: keyFile, KeyFile: keyFile}, "redis-cert-file, redis-key-file: certificate " + keyFile + " and key " + keyFile + ": "},
	} {
		if _, err := dial(&c.config); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

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
		"TLS, other authority": {url: with(secure, ":hunter2"), ca: other, want: "certificate signed by unknown authority"},
		"plain to TLS":         {url: strings.Replace(with(secure, ":hunter2"), "rediss:", "redis:", 1), want: "EOF"},
		"wrong password":       {url: with(locked, ":hunter2"), want: "WRONGPASS"},
		"no password":          {url: locked.URL(), want: "NOAUTH"},
		"gone":                 {url: with(gone, ":hunter2"), want: "connection refused"},
		"no such database":     {url: with(redistest.Start(t), "default:hunter2") + "/99", want: "DB index is out of range"},
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
