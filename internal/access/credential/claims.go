package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"refresher/internal/session"
)

// Bounds of what a credential may hold.
const (
	maxEntries = 1000    // names in all lists of grants
	maxName    = 255     // bytes of a name
	maxMaxTTL  = 1 << 31 // seconds; beyond any lifetime, and far from overflow
)

// rules are what claims are measured by.
type rules struct {
	app      string
	audience string // empty: any
	issuer   string // empty: any
	leeway   time.Duration
	now      time.Time
}

// caller reads claims that were signed. Its error is a *RefusedError.
func (r *rules) caller(f fields) (session.Caller, error) {
	app, named, err := f.app()
	if err != nil {
		return session.Caller{}, err
	}
	if named && app != r.app {
		return session.Caller{}, refuse(ReasonApp, "names another project")
	}
	if err := f.spelled("app", "sub", "exp", "nbf", "iat", "aud", "scope", "grants"); err != nil {
		return session.Caller{}, refuse(ReasonClaims, err.Error())
	}
	if err := r.judgeTime(f); err != nil {
		return session.Caller{}, err
	}
	if err := r.judgeAudience(f); err != nil {
		return session.Caller{}, err
	}
	if err := r.judgeIssuer(f); err != nil {
		return session.Caller{}, err
	}
	c := session.Caller{App: r.app}
	if c.ExpiresAt, err = readMoment(f["exp"]); err == nil {
		c.Subject, err = readSubject(f)
	}
	if err == nil {
		c.Admin, err = readAdmin(f)
	}
	if err == nil {
		c.Grant, err = readGrants(f)
	}
	if err != nil {
		return session.Caller{}, refuse(ReasonClaims, err.Error())
	}
	return c, nil
}

// judgeTime looks at exp, nbf and iat.
func (r *rules) judgeTime(f fields) error {
	if _, there := f["exp"]; !there {
		return refuse(ReasonNoExpiry, "")
	}
	for _, claim := range []struct {
		name  string
		why   Reason
		wrong func(at time.Time) bool
	}{
		{"exp", ReasonExpired, func(at time.Time) bool { return !r.now.Before(at.Add(r.leeway)) }},
		{"nbf", ReasonNotYetValid, func(at time.Time) bool { return r.now.Before(at.Add(-r.leeway)) }},
		{"iat", ReasonIssuedAhead, func(at time.Time) bool { return r.now.Before(at.Add(-r.leeway)) }},
	} {
		raw, there := f[claim.name]
		if !there {
			continue
		}
		seconds, err := readMoment(raw)
		if err != nil {
			return refuse(ReasonClaims, claim.name+": "+err.Error())
		}
		if claim.wrong(seconds.Time()) {
			return refuse(claim.why, "")
		}
	}
	return nil
}

// judgeAudience looks at aud, a string or a list of them.
func (r *rules) judgeAudience(f fields) error {
	raw, there := f["aud"]
	if !there {
		if r.audience != "" {
			return refuse(ReasonAudience, "has none")
		}
		return nil
	}
	entries, err := readList(raw)
	if err != nil {
		entries = []json.RawMessage{raw}
	}
	ours := r.audience == ""
	for _, e := range entries {
		name, err := readString(e)
		if err != nil {
			return refuse(ReasonClaims, "aud: want a string or a list of them")
		}
		ours = ours || name == r.audience
	}
	if !ours {
		return refuse(ReasonAudience, "names another")
	}
	return nil
}

// judgeIssuer looks at iss, where one is demanded.
func (r *rules) judgeIssuer(f fields) error {
	if r.issuer == "" {
		return nil
	}
	raw, there := f["iss"]
	if !there {
		return refuse(ReasonIssuer, "has none")
	}
	issuer, err := readString(raw)
	if err != nil {
		return refuse(ReasonClaims, "iss: "+err.Error())
	}
	if issuer != r.issuer {
		return refuse(ReasonIssuer, "names another")
	}
	return nil
}

func readSubject(f fields) (string, error) {
	raw, there := f["sub"]
	if !there {
		return "", nil
	}
	subject, err := readString(raw)
	if err == nil && len(subject) > maxName {
		err = fmt.Errorf("want at most %d bytes", maxName)
	}
	return subject, in("sub", err)
}

// readAdmin looks for the word admin in scope.
func readAdmin(f fields) (bool, error) {
	raw, there := f["scope"]
	if !there {
		return false, nil
	}
	scope, err := readString(raw)
	if err != nil {
		return false, in("scope", err)
	}
	for word := range strings.SplitSeq(scope, " ") {
		if word == "admin" {
			return true, nil
		}
	}
	return false, nil
}

// readGrants reads the claim grants; what is absent grants nothing.
func readGrants(f fields) (session.Grant, error) {
	var g session.Grant
	raw, there := f["grants"]
	if !there {
		return g, nil
	}
	grants, err := readObject(raw)
	if err == nil {
		err = grants.spelled("rtc", "rtm", "chat", "maxTtl", "until", "tokenFormat")
	}
	if err != nil {
		return g, in("grants", err)
	}
	lists := lists{left: maxEntries}
	lists.read(grants, "rtc", map[string]func(json.RawMessage) error{
		"channels": name(&g.Channels), "uids": uid(&g.UIDs), "accounts": name(&g.Accounts), "roles": role(&g.Roles),
	})
	lists.read(grants, "rtm", map[string]func(json.RawMessage) error{"users": name(&g.RTMUsers)})
	lists.read(grants, "chat", map[string]func(json.RawMessage) error{"users": name(&g.Chat)})
	if lists.err != nil {
		return session.Grant{}, lists.err
	}
	// Zero stands for no bound in a session.Grant, so none may come in here.
	if raw, there := grants["maxTtl"]; there {
		seconds, err := readInteger(raw)
		if err != nil || seconds < 1 || seconds > maxMaxTTL {
			return session.Grant{}, fmt.Errorf("grants.maxTtl: want whole seconds, 1 to %d", maxMaxTTL)
		}
		g.MaxTTL = time.Duration(seconds) * time.Second
	}
	if raw, there := grants["until"]; there {
		seconds, err := readInteger(raw)
		if g.Until = session.UnixSec(seconds); err != nil || seconds == 0 {
			err = errUntil
		} else {
			err = g.Until.Check()
		}
		if err != nil {
			return session.Grant{}, in("grants.until", err)
		}
	}
	if raw, there := grants["tokenFormat"]; there {
		g.Format = new(session.Format)
		word, err := readString(raw)
		if err != nil || g.Format.UnmarshalText([]byte(word)) != nil {
			return session.Grant{}, errors.New(`grants.tokenFormat: want "007", "006" or "007-single"`)
		}
	}
	return g, nil
}

// lists reads the lists of grants. After an error it reads no more.
type lists struct {
	left int // entries that there may be yet
	err  error
}

// read reads the lists of one service; each names what takes an entry.
func (l *lists) read(grants fields, service string, takers map[string]func(json.RawMessage) error) {
	raw, there := grants[service]
	if !there || l.err != nil {
		return
	}
	f, err := readObject(raw)
	if err != nil {
		l.err = in("grants."+service, err)
		return
	}
	for list, take := range takers {
		if err := f.spelled(list); err != nil {
			l.err = in("grants."+service, err)
			return
		}
		raw, there := f[list]
		if !there {
			continue
		}
		entries, err := readList(raw)
		if l.left -= len(entries); l.left < 0 {
			err = fmt.Errorf("want at most %d entries in all", maxEntries)
		}
		for i := 0; i < len(entries) && err == nil; i++ {
			err = take(entries[i])
		}
		if err != nil {
			l.err = fmt.Errorf("grants.%s.%s: %w", service, list, err)
			return
		}
	}
}

// name takes a name or a pattern.
func name(to *[]string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		s, err := readString(raw)
		if err != nil || s == "" || len(s) > maxName {
			return fmt.Errorf("want strings of 1 to %d bytes", maxName)
		}
		*to = append(*to, s)
		return nil
	}
}

// uid takes a number, or a string of one in decimal, or of a pattern.
func uid(to *[]string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		text := string(raw)
		digits := text
		if raw[0] == '"' {
			var err error
			if text, err = readString(raw); err != nil {
				return err
			}
			if text == "*" {
				*to = append(*to, text)
				return nil
			}
			digits = strings.TrimSuffix(text, "*")
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != digits {
			return fmt.Errorf(`want uids, such as 1001, "1001", "10*" or "*"`)
		}
		*to = append(*to, text)
		return nil
	}
}

func role(to *[]session.Role) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		s, err := readString(raw)
		if err != nil {
			return err
		}
		var r session.Role
		if err := r.UnmarshalText([]byte(s)); err != nil {
			return fmt.Errorf(`want "publisher" or "subscriber"`)
		}
		*to = append(*to, r)
		return nil
	}
}

// in says where an error is; nil stays nil.
func in(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", where, err)
}
