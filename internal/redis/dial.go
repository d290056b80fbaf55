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

// Limits on what a connection may take its time for. Who waits longer has less
// use for the answer than for going on without.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
	poolTimeout = 300 * time.Millisecond
	// poolSize is enough for a storm of clients that come back, and few
	// enough for a Redis of many nodes.
	poolSize = 32
	// maxIdle is how long an idle connection is used again, unless the URL says
	// otherwise: less than for what servers and balancers keep one.
	maxIdle = 30 * time.Second
)

const urlForms = "want redis://user:password@host:6379/0, rediss:// for TLS, unix:///path/redis.sock, " +
	"redis+cluster://host:7000?addr=host2:7000, or redis+sentinel://host:26379?addr=host2:26379&master_name=main"

// The library's own log is left out: what matters of it comes back as errors.
func init() { goredis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// dial makes the client of a URL. It connects when it is first used.
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

// greet has a server say at once, and in so many words, if it wants another
// password.
func greet(ctx context.Context, c *goredis.Conn) error { return pong(c.Ping(ctx).Err()) }

// pong is the error of a PING, or nil if the server answered. One that could not
// write its snapshot to disk answers PING with MISCONF, and can be read.
func pong(err error) error {
	if goredis.HasErrorPrefix(err, "MISCONF") {
		return nil
	}
	return err
}

// errNotURL stands for errors that may quote a password. The rest of one with a
// slash, a question mark or a # in it is read as what follows the host, up to the
// @ that should have come before the host.
var errNotURL = errors.New("redis-url: not a URL, or its password has a character in it that must be written as %XX; " + urlForms)

// misread is the library's complaint about a URL.
func misread(u *url.URL, err error) error {
	if _, quotes := errors.AsType[*url.Error](err); quotes || strings.Contains(u.RawQuery, "@") {
		return errNotURL
	}
	return fmt.Errorf("redis-url: %s; %s", strings.TrimPrefix(err.Error(), "redis: "), urlForms)
}

// checkPrefix refuses prefixes that would break the hash tags, or be a nuisance
// in a shell.
func checkPrefix(prefix string) error {
	if len(prefix) > 64 || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return fmt.Errorf("redis-prefix: want at most 64 letters, digits, dots, dashes and underscores; have %q", prefix)
	}
	return nil
}
