package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Limits of the connections to Redis. After a timeout the caller continues without Redis.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
	poolTimeout = 300 * time.Millisecond
	// poolSize is large enough for a reconnect storm, and small enough for a Redis server
	// with many nodes.
	poolSize = 32
	// maxIdle is how long a connection may be idle and still be reused, unless the URL
	// says otherwise. Servers and load balancers usually keep idle connections for
	// longer.
	maxIdle = 30 * time.Second
)

const urlForms = "want redis://user:password@host:6379/0, rediss:// for TLS, unix:///path/redis.sock, " +
	"redis+cluster://host:7000?addr=host2:7000, or redis+sentinel://host:26379?addr=host2:26379&master_name=main"

// go-redis's own log is discarded, since everything important in it is also returned as an
// error.
func init() { goredis.SetLogger(discard{}) }

type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

// dial returns a client for c.URL. The client connects when it is first used.
func dial(c *Config) (goredis.UniversalClient, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Fragment != "" || u.Host != "" && strings.Contains(u.Path, "@") {
		return nil, errNotURL
	}
	kind := ""
	scheme, rest, _ := strings.Cut(u.Scheme, "+")
	if rest != "" {
		kind, u.Scheme = rest, scheme
	}
	secure, err := newSecurity(c, u)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "":
		return dialOne(u, secure)
	case "cluster":
		return dialCluster(u, secure)
	case "sentinel":
		return dialSentinel(u, secure)
	}
	return nil, errors.New("redis-url: unknown scheme; " + urlForms)
}

func dialOne(u *url.URL, secure *tls.Config) (goredis.UniversalClient, error) {
	o, err := goredis.ParseURL(u.String())
	if err != nil {
		return nil, misread(u, err)
	}
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, readTimeout, readTimeout, poolTimeout
	o.ContextTimeoutEnabled, o.PoolSize, o.OnConnect = true, poolSize, greet
	o.ConnMaxIdleTime = cmp.Or(o.ConnMaxIdleTime, maxIdle)
	o.TLSConfig, o.Dialer = adopt(secure, o.TLSConfig), dialer(secure)
	return goredis.NewClient(o), nil
}

func dialCluster(u *url.URL, secure *tls.Config) (goredis.UniversalClient, error) {
	o, err := goredis.ParseClusterURL(u.String())
	if err != nil {
		return nil, misread(u, err)
	}
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, readTimeout, readTimeout, poolTimeout
	o.ContextTimeoutEnabled, o.PoolSize, o.OnConnect = true, poolSize, greet
	o.ConnMaxIdleTime = cmp.Or(o.ConnMaxIdleTime, maxIdle)
	o.TLSConfig, o.Dialer = adopt(secure, o.TLSConfig), dialer(secure)
	return goredis.NewClusterClient(o), nil
}

func dialSentinel(u *url.URL, secure *tls.Config) (goredis.UniversalClient, error) {
	o, err := goredis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, misread(u, err)
	}
	if o.MasterName == "" {
		return nil, errors.New("redis-url: master_name is missing; " + urlForms)
	}
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, readTimeout, readTimeout, poolTimeout
	o.ContextTimeoutEnabled, o.PoolSize, o.OnConnect = true, poolSize, greet
	o.ConnMaxIdleTime = cmp.Or(o.ConnMaxIdleTime, maxIdle)
	o.TLSConfig, o.Dialer = adopt(secure, o.TLSConfig), dialer(secure)
	return goredis.NewFailoverClient(o), nil
}

// greet sends a PING on each new connection, so that a wrong password fails at once with a
// clear error.
func greet(ctx context.Context, c *goredis.Conn) error { return pong(c.Ping(ctx).Err()) }

// pong returns the error of a PING, or nil if the server can be used. A server that could
// not write its snapshot to disk answers PING with MISCONF, but still serves reads.
func pong(err error) error {
	if goredis.HasErrorPrefix(err, "MISCONF") {
		return nil
	}
	return err
}

// errNotURL replaces parse errors that may quote a password. If the password in a URL
// contains an unescaped /, ? or #, the rest of the password is parsed as path, query or
// fragment.
var errNotURL = errors.New("redis-url: not a URL, or its password has a character in it that must be written as %XX; " + urlForms)

// misread returns go-redis's error about a URL, or errNotURL if go-redis's error may quote
// the password.
func misread(u *url.URL, err error) error {
	if _, quotes := errors.AsType[*url.Error](err); quotes || strings.Contains(u.RawQuery, "@") {
		return errNotURL
	}
	return fmt.Errorf("redis-url: %s; %s", strings.TrimPrefix(err.Error(), "redis: "), urlForms)
}

// checkPrefix returns an error for a prefix that would break the hash tags, or would need
// quoting in a shell.
func checkPrefix(prefix string) error {
	if len(prefix) > 64 || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return fmt.Errorf("redis-prefix: want at most 64 letters, digits, dots, dashes and underscores; have %q", prefix)
	}
	return nil
}
