package redis

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"
)

type dialled struct {
	Kind, Network, Address, Username, Password string
	DB                                         int
	TLS                                        bool
	Idle                                       time.Duration
}

func TestSettingsOfURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]dialled{
		"redis://host":                                                    {Kind: "one", Network: "tcp", Address: "host:6379"},
		"redis://host?conn_max_idle_time=5s":                              {Kind: "one", Network: "tcp", Address: "host:6379", Idle: 5 * time.Second},
		"redis+cluster://host?conn_max_idle_time=5s":                      {Kind: "cluster", Address: "host:6379", Idle: 5 * time.Second},
		"redis://host:6380/3":                                             {Kind: "one", Network: "tcp", Address: "host:6380", DB: 3},
		"redis://user:p%40ss%2Fword@host":                                 {Kind: "one", Network: "tcp", Address: "host:6379", Username: "user", Password: "p@ss/word"},
		"rediss://host":                                                   {Kind: "one", Network: "tcp", Address: "host:6379", TLS: true},
		"unix://user:pass@/run/redis.sock?db=2":                           {Kind: "one", Network: "unix", Address: "/run/redis.sock", DB: 2, Username: "user", Password: "pass"},
		"redis+cluster://u:p@a:7000?addr=b:7001":                          {Kind: "cluster", Address: "a:7000 b:7001", Username: "u", Password: "p"},
		"rediss+cluster://host":                                           {Kind: "cluster", Address: "host:6379", TLS: true},
		"rediss+sentinel://h?master_name=m&db=4":                          {Kind: "one", Network: "tcp", Address: "FailoverClient", DB: 4, TLS: true},
		"redis+sentinel://h?master_name=m&addr=b:2&conn_max_idle_time=5s": {Kind: "one", Network: "tcp", Address: "FailoverClient", Idle: 5 * time.Second},
		"redis+sentinel://a:b@h?master_name=m&username=u&password=p@ss": {
			Kind: "one", Network: "tcp", Address: "FailoverClient", Username: "u", Password: "p@ss",
		},
	} {
		client, err := dial(&Config{URL: url})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		var got dialled
		var secured *tls.Config
		switch c := client.(type) {
		case *goredis.Client:
			o := c.Options()
			got = dialled{Kind: "one", Network: o.Network, Address: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB, Idle: o.ConnMaxIdleTime}
			secured = o.TLSConfig
			if o.PoolSize != poolSize || o.MaxRetries > 0 || !o.ContextTimeoutEnabled || o.ReadTimeout != readTimeout {
				t.Errorf("%s: limits are %+v", url, o)
			}
		case *goredis.ClusterClient:
			o := c.Options()
			got = dialled{Kind: "cluster", Address: strings.Join(o.Addrs, " "), Username: o.Username, Password: o.Password, Idle: o.ConnMaxIdleTime}
			secured = o.TLSConfig
			if o.PoolSize != poolSize || o.MaxRetries > 0 || !o.ContextTimeoutEnabled || o.ReadTimeout != readTimeout {
				t.Errorf("%s: limits are %+v", url, o)
			}
		}
		if got.TLS = secured != nil; got.TLS && (secured.MinVersion != tls.VersionTLS12 || secured.InsecureSkipVerify) {
			t.Errorf("%s: %+v", url, secured)
		}
		if want.Idle == 0 {
			want.Idle = 30 * time.Second
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
		_ = client.Close()
	}
}

// TestBadURLs checks the errors for invalid URLs. No error contains the password hunter2, even
// if a character in the password makes the URL invalid.
func TestBadURLs(t *testing.T) {
	t.Parallel()
	const notURL = "not a URL, or its password has a character in it that must be written as %XX"
	for url, want := range map[string]string{
		"":                                               "invalid URL scheme: ",
		"localhost:6379":                                 "invalid URL scheme: localhost",
		"http://user:hunter2@host":                       "invalid URL scheme: http",
		"http+sentinel://h?master_name=m":                "invalid URL scheme: http",
		"redis+://user:hunter2@host":                     "invalid URL scheme: redis+",
		"redis+ring://user:hunter2@host":                 "unknown scheme",
		"redis://host/one":                               `invalid database number: "one"`,
		"redis://user:hunter2@host?foo=1":                "unexpected option: foo",
		"redis+cluster://host?addr=host2":                "unable to parse addr param: host2",
		"redis+sentinel://u:hunter2@h":                   "master_name is missing",
		"redis://user:hunter2@host:port":                 notURL,
		"redis://user:hunter2%zz@host":                   notURL,
		"redis://user:hunter2/@host":                     notURL,
		"redis://user:hunter2?@host":                     notURL,
		"redis://user:hunter2#@host":                     notURL,
		"redis://user:1/hunter2@host":                    notURL,
		"redis://user:1?hunter2@host":                    notURL,
		"redis://user:1#hunter2@host":                    notURL,
		"redis+cluster://h:1/hunter2@h":                  notURL,
		"redis+sentinel://h:1/hunter2@h":                 notURL,
		"redis+cluster://h?addr=:hunter2@":               notURL,
		"redis+cluster://h?addr=u:hunter2@h:7000&addr=7": notURL,
	} {
		client, err := dial(&Config{URL: url})
		if err == nil {
			t.Errorf("%q: no error, want %q", url, want)
			client.Close()
			continue
		}
		if got := err.Error(); got != "redis-url: "+want+"; "+urlForms {
			t.Errorf("%q: %s\nwant redis-url: %s; %s", url, got, want, urlForms)
		}
	}
}

func TestPrefixesThatNeedNoQuoting(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"": true, "a": true, "Refresher-2_eu.west": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, "a b": false, "a:b": false, "{a}": false, "a*": false, "é": false, "a\n": false,
	} {
		err := checkPrefix(prefix)
		if ok != (err == nil) {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	if _, err := New(Config{URL: "redis://host", Prefix: "a:b"}); err == nil || !strings.HasPrefix(err.Error(), "redis-prefix: ") {
		t.Errorf("New: %v", err)
	}
}
