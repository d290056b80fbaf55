package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// In TestNoTokenExceedsItsGrant, clients with random grants send random requests to two nodes, and
// operators change roles. One of the nodes knows the sessions only from their resume keys. The test
// compares every minted token with the grant of the caller who opened the session. For this it has
// its own implementation of the rules for grants.
func TestNoTokenExceedsItsGrant(t *testing.T) {
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		grant := randomGrant(r)
		wanted, usual := randomFormat(r), pick(r, session.Format007, session.Format006, session.FormatSingle)
		minter := &strictMinter{t: t, grant: &grant, format: *cmp.Or(wanted, grant.Format, &usual)}
		config := func() settings {
			c := testConfig(t)
			minter.configure(&c, time.Second)
			c.Minter, c.Policy.DefaultFormat = minter, usual
			return c
		}
		shared := config()
		shared.share()
		here, elsewhere := startNode(t, shared), start(t, config())
		for range 40 {
			p := &fakeClient{t: t, scheduler: here.Scheduler, answer: silent}
			if p.open(randomJoin(r, grant, wanted)) != nil {
				continue
			}
			for range r.IntN(8) {
				pass(upTo(r, 20*time.Minute))
				p = minter.act(r, p, here, elsewhere)
			}
		}
		wait(time.Minute)
	})
}

func randomGrant(r *rand.Rand) session.Grant {
	patterns := func() []string {
		one := func() string { return pick(r, "a", "a*", "b", "1", "1*", "10") }
		return pick(r, []string{"*"}, []string{"*"}, []string{"*"}, []string{one(), one()}, []string{one()}, nil)
	}
	g := session.Grant{
		Channels: patterns(), UIDs: patterns(), Accounts: patterns(), RTMUsers: patterns(), Chat: patterns(),
		Roles:  pick(r, []session.Role{session.Publisher}, []session.Role{session.Subscriber}, []session.Role{session.Publisher, session.Subscriber}),
		MaxTTL: pick(r, 0, 5*time.Second, 30*time.Second, 10*time.Minute, 2*time.Hour),
		Format: randomFormat(r),
	}
	if until := pick(r, 0, time.Minute, 30*time.Minute, 25*time.Hour); until > 0 {
		g.Until = session.SecOf(time.Now().Add(until))
	}
	return g
}

// randomFormat returns a format, or nil for none.
func randomFormat(r *rand.Rand) *session.Format {
	return pick(r, nil, new(session.Format007), new(session.Format006), new(session.FormatSingle))
}

func randomJoin(r *rand.Rand, grant session.Grant, format *session.Format) session.Join {
	name := func() string { return pick(r, "a", "ab", "b", "1", "2", "10", "") }
	j := session.Join{
		Format: format, TTL: pick(r, 0, 10*time.Second, 30*time.Second, 10*time.Minute, 24*time.Hour),
		Caller: session.Caller{App: "app", Subject: "s", Grant: grant},
	}
	if r.IntN(4) > 0 {
		j.Identity.RTC = &session.RTC{Channel: name(), Role: pick(r, grant.Roles[0], grant.Roles[0], session.Publisher, session.Subscriber)}
		if r.IntN(2) == 0 {
			j.Identity.RTC.Account = name()
		} else {
			j.Identity.RTC.UID = pick[uint32](r, 0, 1, 2, 10, 19)
		}
	}
	if r.IntN(2) == 0 {
		j.Identity.RTM = &session.RTM{UserID: name()}
	}
	if r.IntN(2) == 0 {
		j.Identity.Chat = &session.Chat{UserID: name()}
	}
	return j
}

// strictMinter fails the test if a token exceeds the grant.
type strictMinter struct {
	certificate

	t      *testing.T
	grant  *session.Grant
	format session.Format
}

func (m *strictMinter) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
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
		good = good && granted(g.Channels, r.Channel) && (r.Role == session.Subscriber || slices.Contains(g.Roles, r.Role))
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
	check(m.t, good, "minted for %s: %+v %+v %+v in %s for %d s, %d s past the grant", cause, id.RTC, id.RTM, id.Chat, f, expiresAt-issuedAt, expiresAt-g.Until)
	return m.certificate.Mint(app, id, f, cause, issuedAt, expiresAt)
}

// act sends one request of a client or an operator. The service may refuse it.
func (m *strictMinter) act(r *rand.Rand, p *fakeClient, here *node, elsewhere *Scheduler) *fakeClient {
	node := pick(r, here.Scheduler, elsewhere)
	switch r.IntN(8) {
	case 0:
		_ = p.current().Ack(p.newest().Seq)
	case 1:
		_ = p.current().Nack(p.newest().Seq, "1", "")
	case 2:
		p.current().Renew()
	case 3:
		next := p.again()
		next.scheduler = node
		if next.resume(p) == nil {
			return next
		}
	case 4:
		_, _ = node.RenewByKey(context.Background(), p.resumeRequest())
	case 5, 6:
		_, _ = here.cluster.Wish(p.t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishRole, Role: pick(r, session.Publisher, session.Publisher, session.Subscriber)})
	case 7:
		m.change(m.name("app")+1, here.Scheduler)
		elsewhere.CertificateChanged("app")
	}
	return p
}
