package redis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refresher/test/redistest"
)

// secured returns a change of the Config that makes a Store trust the authority a, and
// use a client certificate that a signed.
func secured(a *redistest.Authority) func(*Config) {
	certFile, keyFile := a.Issue("refresher")
	return func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = a.CAFile, certFile, keyFile }
}

// Each server of a cluster has a certificate for its own address alone, and requires a
// client certificate.
func TestClusterWithACertificateEach(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	cluster := redistest.StartClusterTLS(t, a)
	s := open(t, cluster.URL(), secured(a))
	s.allWork(t)
	master := cluster.MasterOf(s.keys.due[0])
	master.Kill()
	cluster.AwaitFailover(master)
	s.again(t)
}

// TLS works in the same way with two servers and the three sentinels that watch them.
func TestSentinelWithACertificateEach(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	sentinel := redistest.StartSentinelTLS(t, a)
	s := open(t, sentinel.URL(), secured(a))
	s.allWork(t)
	sentinel.KillMaster()
	s.again(t)
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
		"address, other expected":   {byAddress.URL() + "?server_name=redis.example.com", "certificate is not valid for any names"},
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

// A server that requires a client certificate refuses a client without a certificate, or
// with one of another authority. Replaced files are used for the next connection. Files
// that cannot be read are not used, and are logged once.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1")
	if _, err := open(t, server.URL(), func(c *Config) { c.CAFile = a.CAFile }).sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	certFile, keyFile := filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")
	replace := func(fromCert, fromKey string) {
		t.Helper()
		for from, to := range map[string]string{fromCert: certFile, fromKey: keyFile} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			must(t, err)
		}
	}
	replace(redistest.NewAuthority(t).Issue("refresher"))
	s := open(t, server.URL(), func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = a.CAFile, certFile, keyFile })
	if _, err := s.sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), "tls: ") {
		t.Errorf("with another authority's certificate: %v", err)
	}
	replace(a.Issue("refresher"))
	s.allWork(t)
	must(t, os.WriteFile(certFile, []byte("half of"), 0o600))
	for range 3 {
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
		"no key":                 {Config{URL: "rediss://h", CertFile: certFile}, "redis-cert-file, redis-key-file: want both or none"},
		"no certificate":         {Config{URL: "rediss://h", KeyFile: keyFile}, "redis-cert-file, redis-key-file: want both or none"},
		"certificate, no TLS":    {Config{URL: "redis://h", CertFile: certFile, KeyFile: keyFile}, "redis-cert-file" + plain},
		"authority, no TLS":      {Config{URL: "redis+cluster://h", CAFile: certFile}, "redis-ca-file" + plain},
		"server_name, no TLS":    {Config{URL: "redis://h?server_name=x"}, "redis-url: server_name" + plain},
		"no authority":           {Config{URL: "rediss://user:hunter2@host", CAFile: "/nowhere"}, "redis-ca-file: open /nowhere: no such file or directory"},
		"an empty authority":     {Config{URL: "rediss://user:hunter2@host", CAFile: none}, "redis-ca-file: " + none + " holds no certificate in PEM"},
		"not a pair":             {Config{URL: "rediss://h", CertFile: keyFile, KeyFile: keyFile}, "redis-cert-file, redis-key-file: certificate " + keyFile + " and key " + keyFile + ": "},
		"a file that is missing": {Config{URL: "rediss://h", CertFile: certFile, KeyFile: "/nowhere"}, "open /nowhere: no such file or directory"},
	} {
		if _, err := dial(&c.config); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
