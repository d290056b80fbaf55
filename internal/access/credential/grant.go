package credential

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"refresher/internal/session"
)

// GrantConfig describes a credential to make. Secret is required.
type GrantConfig struct {
	// Secret signs the credential with HS256. It has at least 32 bytes.
	Secret string
	// Caller has the credential's subject, scope and grants. App may be empty if the service has
	// one project. Grant.All is refused, and MaxTTL must be whole seconds.
	Caller session.Caller
	// Audience and Issuer are the claims aud and iss of the credential; they may be empty.
	Audience string
	Issuer   string
	// TTL is the credential's lifetime, in whole seconds. 0 means 1 h.
	TTL time.Duration
}

// Grant makes a credential, for trying the service out; in production your back end makes the credentials. The error
// says why Verify would refuse the credential. If one claim is at fault, the error begins with that claim's path.
func Grant(c GrantConfig) (string, error) {
	g := &c.Caller.Grant
	if err := CheckSecret(c.Secret); err != nil {
		return "", fmt.Errorf("jwt-secret: %w", err)
	}
	switch {
	case c.TTL < 0 || c.TTL%time.Second != 0:
		return "", errors.New("ttl: want whole seconds")
	case g.All:
		return "", errors.New("a credential cannot grant everything at once; give the channels and users, for example as *")
	case g.MaxTTL < 0 || g.MaxTTL%time.Second != 0:
		return "", errors.New("max-ttl: want whole seconds")
	}
	payload, err := json.Marshal(c.claims(time.Now()))
	if err != nil {
		return "", fmt.Errorf("make the credential: %w", err)
	}
	const header = `{"alg":"HS256","typ":"JWT"}`
	text := segments.EncodeToString([]byte(header)) + "." + segments.EncodeToString(payload)
	signature, err := jwt.SigningMethodHS256.Sign(text, []byte(c.Secret))
	if err != nil {
		return "", fmt.Errorf("sign the credential: %w", err)
	}
	text += "." + segments.EncodeToString(signature)
	s, err := parse(text)
	if err == nil {
		_, err = (&rules{c.Caller.App, c.Audience, c.Issuer}).caller(s.claims)
	}
	if r, refused := errors.AsType[*RefusedError](err); refused {
		return "", errors.New(cmp.Or(r.Detail, string(r.Reason)))
	}
	return text, nil
}

func (c *GrantConfig) claims(now time.Time) *claims {
	g := &c.Caller.Grant
	expires := moment(now.Add(cmp.Or(c.TTL, time.Hour)).Unix())
	all := &claims{Subject: c.Caller.Subject, IssuedAt: moment(now.Unix()), Expires: &expires}
	if c.Caller.App != "" {
		all.App = &c.Caller.App
	}
	if c.Audience != "" {
		all.Audience = audience{c.Audience}
	}
	if c.Issuer != "" {
		all.Issuer = c.Issuer
	}
	if c.Caller.Admin {
		all.Scope = "admin"
	}
	all.Grants = grants{
		RTM: users{g.RTMUsers}, Chat: users{g.Chat}, MaxTTL: seconds(g.MaxTTL / time.Second), Until: until(g.Until), Format: g.Format,
	}
	rtc := &all.Grants.RTC
	rtc.Channels, rtc.UIDs, rtc.Accounts, rtc.Roles = g.Channels, g.UIDs, g.Accounts, g.Roles
	return all
}
