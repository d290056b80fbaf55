package orders

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// matches is the rule, spelled out.
func matches(o *store.Order, app, sessionID, subject string, id session.Identity) bool {
	if o.Kind != store.OrderRevoke || o.App != app {
		return false
	}
	if o.Session != "" && o.Session != sessionID || o.Subject != "" && o.Subject != subject {
		return false
	}
	if o.Channel != "" && (id.RTC == nil || id.RTC.Channel != o.Channel) {
		return false
	}
	if o.User == "" {
		return true
	}
	if r := id.RTC; r != nil {
		if r.Account == o.User || r.Account == "" && strconv.Itoa(int(r.UID)) == o.User {
			return true
		}
	}
	return o.Channel == "" && (id.RTM != nil && id.RTM.UserID == o.User || id.Chat != nil && id.Chat.UserID == o.User)
}

// TestMatches compares Revoked with the rule, while orders come, go and are
// lifted.
func TestMatches(t *testing.T) {
	name := func(of ...string) *rapid.Generator[string] { return rapid.SampledFrom(of) }
	sessions, subjects := name("", "S1", "S2"), name("", "ana", "bob")
	channels, users := name("", "daily", "1"), name("", "0", "1", "2", "ana")
	orders := rapid.Custom(func(rt *rapid.T) store.Order {
		return store.Order{
			App: name("app", "else").Draw(rt, "app"), Kind: rapid.SampledFrom(kinds).Draw(rt, "kind"),
			Session: sessions.Draw(rt, "session"), Channel: channels.Draw(rt, "channel"),
			User: users.Draw(rt, "user"), Subject: subjects.Draw(rt, "subject"),
			Until: session.UnixSec(rapid.IntRange(1, 20).Draw(rt, "until")), At: session.UnixMilli(rapid.IntRange(1, 3).Draw(rt, "at")),
		}
	})
	identities := rapid.Custom(func(rt *rapid.T) session.Identity {
		var id session.Identity
		if rapid.Bool().Draw(rt, "rtc") {
			id.RTC = &session.RTC{
				Channel: name("daily", "1").Draw(rt, "channel"), UID: rapid.Uint32Range(0, 2).Draw(rt, "uid"),
				Account: users.Draw(rt, "account"),
			}
		}
		if rapid.Bool().Draw(rt, "rtm") {
			id.RTM = &session.RTM{UserID: users.Draw(rt, "rtm user")}
		}
		if rapid.Bool().Draw(rt, "chat") {
			id.Chat = &session.Chat{UserID: users.Draw(rt, "chat user")}
		}
		return id
	})
	rapid.Check(t, func(rt *rapid.T) {
		var now session.UnixSec
		b := alone(t, func() time.Time { return now.Time() })
		model := make(map[string]*store.Order)
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				o := orders.Draw(rt, "order")
				o.ID = strconv.Itoa(len(model))
				if o.Until += now; o.Kind == store.OrderRevoke && targetOf(&o) == (target{}) {
					o.Subject = "ana"
				}
				model[o.ID] = &o
				b.add(o)
			},
			"lift": func(rt *rapid.T) {
				id := strconv.Itoa(rapid.IntRange(0, 20).Draw(rt, "id"))
				if e := b.entries[id]; e != nil {
					b.lift(e)
					model[id].Lifted = true
				}
			},
			"wait": func(rt *rapid.T) {
				now += session.UnixSec(rapid.IntRange(0, 10).Draw(rt, "seconds"))
				if rapid.Bool().Draw(rt, "expire") {
					b.expire()
				}
			},
			"": func(rt *rapid.T) {
				counted := newQuotas(1)
				for _, e := range b.entries {
					for _, q := range counted.of(&e.order) {
						q.add(e.order.App)
					}
				}
				if diff := cmp.Diff(counted, b.quotas, cmp.AllowUnexported(quotas{}, quota{})); diff != "" {
					rt.Fatalf("what is held (-want +got):\n%s", diff)
				}
				for app, p := range b.projects {
					var shapes [1 << 4]int
					for target, list := range p.revoked {
						shapes[target.shape()] += len(list)
					}
					if p.shapes != shapes || p.list.Len() == 0 {
						rt.Fatalf("%s: %d orders, shapes %v, want %v", app, p.list.Len(), p.shapes, shapes)
					}
				}
			},
			"list": func(rt *rapid.T) {
				app := name("app", "else").Draw(rt, "app")
				kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
				limit := rapid.IntRange(1, 5).Draw(rt, "limit")
				var want, got []string
				for id, o := range model {
					if o.App == app && o.Kind == kind && !o.Lifted && now < o.Until {
						want = append(want, id)
					}
				}
				slices.Sort(want)
				for after, more := "", true; more; more = after != "" {
					var part []store.Order
					if part, after = b.List(app, kind, after, limit); len(part) > limit {
						rt.Fatalf("%d at once, want %d at most", len(part), limit)
					}
					for i := range part {
						got = append(got, part[i].ID)
					}
				}
				if !slices.Equal(got, want) {
					rt.Fatalf("listed %q, want %q", got, want)
				}
			},
			"look up": func(rt *rapid.T) {
				app, sessionID, subject := name("app", "else").Draw(rt, "app"), sessions.Draw(rt, "session"), subjects.Draw(rt, "subject")
				id := identities.Draw(rt, "identity")
				want := false
				for _, o := range model {
					// What ends sessions goes by this one.
					if k := (session.Key{App: app, Session: sessionID, Subject: subject, Identity: id}); o.Kind == store.OrderRevoke &&
						o.Matches(&k) != matches(o, app, sessionID, subject, id) {
						rt.Fatalf("store has another rule of %+v for %+v", o, k)
					}
					want = want || !o.Lifted && now < o.Until && matches(o, app, sessionID, subject, id)
				}
				got, ok := b.Revoked(app, sessionID, subject, id)
				if ok != want {
					rt.Fatalf("Revoked: %v, want %v", ok, want)
				}
				if ok && (got != *model[got.ID] || !matches(&got, app, sessionID, subject, id) || now >= got.Until) {
					rt.Fatalf("Revoked by %+v", got)
				}
				var newest *store.Order
				for _, o := range model {
					if o.Kind == store.OrderRole && o.App == app && o.Session == sessionID && !o.Lifted && now < o.Until &&
						(newest == nil || o.At > newest.At || o.At == newest.At && o.ID > newest.ID) {
						newest = o
					}
				}
				if e := b.newestRole(app, sessionID); (e == nil) != (newest == nil) || e != nil && e.order != *newest {
					rt.Fatalf("role by %+v, want %+v", e, newest)
				}
			},
		})
	})
}

// alone is a Book that nothing happens to by itself.
func alone(t testing.TB, now func() time.Time) *Book {
	t.Helper()
	b, err := New(Config{
		Board: &link{board: newBoard()}, Node: "a", Now: now, Sessions: func(store.Order) store.Report { return store.Report{} },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestUsers: who a user in an order is.
func TestUsers(t *testing.T) {
	tests := map[string]struct {
		user, channel string
		id            session.Identity
		want          bool
	}{
		"a uid":                           {"7", "", rtc("daily", 7), true},
		"an account of that name":         {"7", "", session.Identity{RTC: &session.RTC{Channel: "daily", Account: "7"}}, true},
		"another spelling is another":     {"07", "", rtc("daily", 7), false},
		"the largest uid":                 {"4294967295", "daily", rtc("daily", 4294967295), true},
		"the wildcard":                    {"0", "", rtc("daily", 0), true},
		"the wildcard is nobody else":     {"7", "", rtc("daily", 0), false},
		"the wildcard channel":            {"", "*", rtc("*", 7), true},
		"of the wildcard channel only":    {"", "*", rtc("daily", 7), false},
		"a channel, not the wildcard":     {"", "daily", rtc("*", 7), false},
		"RTM":                             {"ana", "", session.Identity{RTM: &session.RTM{UserID: "ana"}}, true},
		"Chat":                            {"ana", "", session.Identity{Chat: &session.Chat{UserID: "ana"}}, true},
		"in a channel":                    {"7", "daily", rtc("daily", 7), true},
		"in another channel":              {"7", "weekly", rtc("daily", 7), false},
		"in a channel RTM does not count": {"ana", "daily", session.Identity{RTC: &session.RTC{Channel: "daily", UID: 7}, RTM: &session.RTM{UserID: "ana"}}, false},
		"in a channel it takes RTC":       {"ana", "daily", session.Identity{RTM: &session.RTM{UserID: "ana"}}, false},
	}
	for name, tt := range tests {
		b := alone(t, func() time.Time { return time.Unix(1, 0) })
		b.add(store.Order{ID: "1", App: "app", Kind: store.OrderRevoke, User: tt.user, Channel: tt.channel, Until: 2})
		if _, got := b.Revoked("app", "", "", tt.id); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLongest: of two revocations alike, the one that stands longer does not wait
// for the other to be forgotten.
func TestLongest(t *testing.T) {
	for _, untils := range [][]session.UnixSec{{2, 5}, {5, 2}} {
		now := session.UnixSec(1)
		b := alone(t, func() time.Time { return now.Time() })
		for i, until := range untils {
			b.add(store.Order{ID: strconv.Itoa(i), App: "app", Kind: store.OrderRevoke, User: "7", Until: until})
		}
		now = 3
		if o, ok := b.Revoked("app", "", "", rtc("daily", 7)); !ok || o.Until != 5 {
			t.Errorf("given until %v: revoked %v by %+v", untils, ok, o)
		}
	}
}

// TestNothingToAllocate: without orders, a look-up costs nothing.
func TestNothingToAllocate(t *testing.T) {
	b, id := alone(t, nil), rtc("daily", 1001)
	if n := testing.AllocsPerRun(100, func() {
		b.Revoked("app", "S", "ana", id)
		b.Role("app", "S")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{0, 1, 10_000} {
		b.Run(fmt.Sprintf("orders=%d", n), func(b *testing.B) {
			book := alone(b, nil)
			for i := range n {
				o := store.Order{ID: strconv.Itoa(i), App: "app", Kind: store.OrderRevoke, Until: session.SecOf(time.Now().Add(time.Hour))}
				switch i % 4 {
				case 0:
					o.User = strconv.Itoa(i)
				case 1:
					o.Channel, o.User = "weekly", strconv.Itoa(i)
				case 2:
					o.Session = strconv.Itoa(i)
				case 3:
					o.Subject = strconv.Itoa(i)
				}
				book.add(o)
			}
			id := rtc("daily", 1_001_001)
			id.RTM = &session.RTM{UserID: "1001001"}
			b.ReportAllocs()
			for b.Loop() {
				if _, revoked := book.Revoked("app", "S", "ana", id); revoked {
					b.Fatal("revoked")
				}
			}
		})
	}
}
