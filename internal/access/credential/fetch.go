package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"refresher/internal/origin"
)

const (
	fetchTimeout = 10 * time.Second
	maxKeySet    = 512 << 10 // bytes
)

// newClient is base, or nil for one of our own, such that it follows no redirect:
// keys come from where the settings say, or not at all.
func newClient(base *http.Client) *http.Client {
	if base == nil {
		base = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	still := *base
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &still
}

// parseURL reads the address of a key set. Its errors repeat nothing of it.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, strings.Contains(text, "#"):
		return nil, errors.New("jwks-url: want a form like https://login.example.com/.well-known/jwks.json, without a user")
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()):
		return nil, errors.New("jwks-url: want https; over http anybody on the way could put in keys")
	}
	return u, nil
}

// fetch asks for a key set once. Its errors do not repeat the address.
func fetch(ctx context.Context, client *http.Client, u *url.URL) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, discreet(err)
	}
	q.Header.Set("Accept", "application/jwk-set+json, application/json")
	q.Header.Set("User-Agent", "refresher")
	answer, err := client.Do(q)
	if err != nil {
		return nil, discreet(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return nil, discreet(err)
	}
	if len(text) > maxKeySet {
		return nil, fmt.Errorf("answered with more than %d bytes", maxKeySet)
	}
	return readKeySet(text)
}

// discreet is err without the URL that net/http puts around it: the query may be
// a secret.
func discreet(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
