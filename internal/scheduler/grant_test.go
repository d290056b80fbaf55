package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// TestNoTokenExceedsItsGrant has clients with random grants send random requests to two nodes, one
// of which knows the sessions only from their resume keys, while operators change roles. The test
// compares every minted token, by its own rules, with the grant of the caller who opened the
// session.
func TestNoTokenExceedsItsGrant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWish(rt)
		synctest.Test(t, func(t *testing.T) { w.play(t) })
		if t.Failed() {
			rt.Fatalf("the script was %+v", w)
		}
	})
}

// wish holds a caller with a grant, and the requests that the caller sends.
type wish struct {
	grant session.Grant
	until time.Duration // when the grant expires, from the start; 0 if never
	joins []session.Join
	turns []turn
	// format is the expected format of all tokens: the format in the join; if that is empty, the
	// format in the grant; and if both are empty, the operator's.
	format, operators session.Format

	certificate *certificate
}

var someNames = []string{"a", "ab", "b", "1", "2", "10", ""}

func drawPatterns(rt *rapid.T, label string) []string {
	if rapid.Bool().Draw(rt, "all "+label) {
		return []string{"*"}
	}
	return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a*", "b", "*", "1", "1*", "10"}), 0, 2).Draw(rt, label)
}

func drawWish(rt *rapid.T) wish {
	name := rapid.SampledFrom(someNames)
	role := rapid.SampledFrom([]session.Role{session.Publisher, session.Subscriber})
	w := wish{
		grant: session.Grant{
			Channels: drawPatterns(rt, "channels"), UIDs: drawPatterns(rt, "uids"), Accounts: drawPatterns(rt, "accounts"),
			Roles: rapid.SliceOfN(role, 1, 2).Draw(rt, "roles"), RTMUsers: drawPatterns(rt, "rtm"), Chat: drawPatterns(rt, "chat"),
			MaxTTL: time.Duration(rapid.SampledFrom([]int{0, 5, 30, 600, 7200}).Draw(rt, "maxTtl")) * time.Second,
		},
		until: time.Duration(rapid.SampledFrom([]int{0, 60, 1800, 90_000}).Draw(rt, "until")) * time.Second,
	}
	formats := rapid.SampledFrom([]session.Format{session.Format007, session.Format006, session.FormatSingle})
	wanted, granted := rapid.Ptr(formats, true).Draw(rt, "format"), rapid.Ptr(formats, true).Draw(rt, "format granted")
	w.operators, w.grant.Format = formats.Draw(rt, "format by default"), granted
	switch {
	case wanted != nil:
		w.format = *wanted
	case granted != nil:
		w.format = *granted
	default:
		w.format = w.operators
	}
	for range rapid.IntRange(1, 4).Draw(rt, "joins") {
		j := session.Join{Format: wanted, TTL: time.Duration(rapid.SampledFrom([]int{0, 10, 30, 600, 86400}).Draw(rt, "ttl")) * time.Second}
		if rapid.IntRange(0, 3).Draw(rt, "has rtc") > 0 {
			rtc := session.RTC{Channel: name.Draw(rt, "channel"), Role: w.grant.Roles[0]}
			if rapid.IntRange(0, 3).Draw(rt, "any role") == 0 {
				rtc.Role = role.Draw(rt, "role")
			}
			if rapid.Bool().Draw(rt, "by account") {
				rtc.Account = name.Draw(rt, "account")
			} else {
				rtc.UID = rapid.SampledFrom([]uint32{0, 1, 2, 10, 19}).Draw(rt, "uid")
			}
			j.Identity.RTC = &rtc
		}
		if rapid.Bool().Draw(rt, "has rtm") {
			j.Identity.RTM = &session.RTM{UserID: name.Draw(rt, "rtm user")}
		}
		if rapid.Bool().Draw(rt, "has chat") {
			j.Identity.Chat = &session.Chat{UserID: name.Draw(rt, "chat user")}
		}
		w.joins = append(w.joins, j)
	}
	for range rapid.IntRange(0, 15).Draw(rt, "turns") {
		w.turns = append(w.turns, turn{
			after: time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(rt, "after")),
			what: rapid.SampledFrom([]string{
				"ack", "nack", "renew", "resume", "resume elsewhere", "renew by key", "renew elsewhere", "promote", "promote", "demote", "rotate",
			}).Draw(rt, "what"),
		})
	}
	return w
}

// strictMinter records the tokens that exceed the grant.
type strictMinter struct {
	grant  *session.Grant
	format session.Format

	certificate *certificate

	mu    sync.Mutex
	mints int      // guarded by mu
	wrong []string // guarded by mu
}

func (m *strictMinter) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mints++
	g := m.grant
	granted := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			return p == name || strings.HasSuffix(p, "*") && strings.HasPrefix(name, strings.TrimSuffix(p, "*"))
		})
	}
	good := app == "app" && f == m.format && expiresAt > issuedAt && expiresAt.Sub(issuedAt) <= session.MaxLifetime
	if r := id.RTC; r != nil {
		// A grant of the publisher role permits the subscriber role too, since an operator can
		// always lower the role.
		good = good && granted(g.Channels, r.Channel) && (r.Role == session.Subscriber && len(g.Roles) > 0 || slices.Contains(g.Roles, r.Role))
		user := cmp.Or(r.Account, fmt.Sprint(r.UID))
		if _, notNumber := strconv.ParseUint(user, 10, 32); notNumber != nil {
			good = good && granted(g.Accounts, user)
		} else { // a token for the account "1001" is the same as a token for uid 1001
			good = good && (granted(g.UIDs, user) || slices.Contains(g.Accounts, user))
		}
	}
	good = good && (id.RTM == nil || granted(g.RTMUsers, id.RTM.UserID))
	good = good && (id.Chat == nil || granted(g.Chat, id.Chat.UserID) && id.Chat.UserID != "")
	good = good && (g.MaxTTL == 0 || expiresAt.Sub(issuedAt) <= g.MaxTTL)
	good = good && (g.Until == 0 || expiresAt <= g.Until)
	if !good {
		m.wrong = append(m.wrong, fmt.Sprintf("%s: %+v %+v %+v in %s for %d s, %d s past the grant", cause, id.RTC, id.RTM, id.Chat, f, expiresAt-issuedAt, expiresAt-g.Until))
	}
	return session.Tokens{RTC: "t", ExpiresAt: expiresAt, Certificate: m.certificate.name(app)}, nil
}

func (w wish) play(t *testing.T) {
	if w.until != 0 {
		w.grant.Until = session.SecOf(time.Now().Add(w.until))
	}
	w.certificate = &certificate{}
	minter := &strictMinter{grant: &w.grant, format: w.format, certificate: w.certificate}
	config := func() settings {
		c := testConfig(t)
		c.Minter, c.Policy.DefaultFormat = minter, w.operators
		c.Certificate, c.Policy.CertificateSpread = w.certificate.name, time.Second
		return c
	}
	shared := config()
	shared.share()
	here, elsewhere := startNode(t, shared), start(t, config())
	for _, join := range w.joins {
		join.Caller = session.Caller{App: "app", Subject: "s", Grant: w.grant}
		p := &fakeClient{t: t, scheduler: here.Scheduler, answer: silent}
		if p.open(join) != nil {
			continue
		}
		for _, turn := range w.turns {
			pass(turn.after)
			p = w.do(p, turn.what, here, elsewhere)
		}
	}
	wait(time.Minute)
	minter.mu.Lock()
	defer minter.mu.Unlock()
	for _, wrong := range minter.wrong {
		t.Errorf("minted %s", wrong)
	}
}

// do sends one request of a client or an operator. The service may refuse it.
func (w wish) do(p *fakeClient, what string, here *node, elsewhere *Scheduler) *fakeClient {
	newest := p.newest().Seq
	switch what {
	case "ack":
		_ = p.current().Ack(newest)
	case "nack":
		_ = p.current().Nack(newest, "1", "")
	case "renew":
		p.current().Renew()
	case "resume", "resume elsewhere":
		next := p.again()
		if next.scheduler = here.Scheduler; what != "resume" {
			next.scheduler = elsewhere
		}
		if next.resume(p) == nil {
			return next
		}
	case "renew by key":
		_, _ = here.RenewByKey(context.Background(), p.resumeRequest())
	case "renew elsewhere":
		_, _ = elsewhere.RenewByKey(context.Background(), p.resumeRequest())
	case "promote", "demote":
		change := store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Publisher}
		if what == "demote" {
			change.Role = session.Subscriber
		}
		_, _ = here.cluster.Wish(p.t.Context(), "app", change)
	case "rotate":
		w.certificate.change(w.certificate.name("app")+1, here.Scheduler)
		elsewhere.CertificateChanged("app")
	}
	return p
}
