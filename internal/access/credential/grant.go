package credential

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"refresher/internal/session"
)

// GrantConfig is what a credential is to hold. Secret is required.
type GrantConfig struct {
	// Secret signs it, by HS256; at least 32 bytes.
	Secret string
	// Caller is who it speaks for. Its App may be empty, for a service with one
	// project. Grant.All cannot be had, and MaxTTL is whole seconds.
	Caller session.Caller
	// Audience and Issuer may be empty.
	Audience string
	Issuer   string
	// TTL is how long it is good, in whole seconds. Zero means 1 h.
	TTL time.Duration
}

// Grant makes a credential, for trying things out: in production the customer's
// back end makes them. One that Verify would refuse is not made.
func Grant(c GrantConfig) (string, error) {
	g := &c.Caller.Grant
	switch {
	case len(c.Secret) < minSecret:
		return "", errShortSecret
	case c.TTL < 0 || c.TTL%time.Second != 0:
		return "", errors.New("ttl: want whole seconds")
	case g.All:
		return "", errors.New("all tokens cannot be granted at once; name what is, as * if need be")
	case g.MaxTTL < 0 || g.MaxTTL%time.Second != 0:
		return "", errors.New("max-ttl: want whole seconds")
	}
	if c.TTL == 0 {
		c.TTL = time.Hour
	}
	now := time.Now()
	claims := jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(c.TTL).Unix()}
	put(claims, "app", c.Caller.App)
	put(claims, "sub", c.Caller.Subject)
	put(claims, "aud", c.Audience)
	put(claims, "iss", c.Issuer)
	if c.Caller.Admin {
		claims["scope"] = "admin"
	}
	grants := make(map[string]any)
	rtc := make(map[string]any)
	putList(rtc, "channels", g.Channels)
	putList(rtc, "uids", g.UIDs)
	putList(rtc, "accounts", g.Accounts)
	putList(rtc, "roles", g.Roles)
	putMap(grants, "rtc", rtc)
	for service, users := range map[string][]string{"rtm": g.RTMUsers, "chat": g.Chat} {
		m := make(map[string]any)
		putList(m, "users", users)
		putMap(grants, service, m)
	}
	if g.MaxTTL != 0 {
		grants["maxTtl"] = int64(g.MaxTTL / time.Second)
	}
	if g.Until != 0 {
		grants["until"] = g.Until
	}
	if g.Format != nil {
		grants["tokenFormat"] = g.Format.String()
	}
	putMap(claims, "grants", grants)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.Secret))
	if err != nil {
		return "", fmt.Errorf("sign the credential: %w", err)
	}
	if err := try(text, &c); err != nil {
		return "", err
	}
	return text, nil
}

// try reads a credential that was just made.
func try(text string, c *GrantConfig) error {
	s, err := parse(text)
	var f fields
	if err == nil {
		f, err = s.claims()
	}
	if err == nil {
		r := rules{app: c.Caller.App, audience: c.Audience, issuer: c.Issuer, now: time.Now()}
		_, err = r.caller(f)
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return fmt.Errorf("it would be refused: %s %s", r.Reason, r.Detail)
	}
	return err
}

func put(to map[string]any, name, value string) {
	if value != "" {
		to[name] = value
	}
}

func putList[T any](to map[string]any, name string, values []T) {
	if len(values) > 0 {
		to[name] = values
	}
}

func putMap(to map[string]any, name string, m map[string]any) {
	if len(m) > 0 {
		to[name] = m
	}
}
