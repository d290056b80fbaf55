package revocation

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

func key(channel string, uid uint32) *session.ResumeClaims {
	return &session.ResumeClaims{App: "app", Identity: rtc(channel, uid)}
}

// matches implements the rule of Selector.Matches a second time, for comparison.
func matches(r *store.Revocation, k *session.ResumeClaims) bool {
	id, channel, users := k.Identity, "", []string{""}
	if c := id.RTC; c != nil {
		channel = c.Channel
		users = append(users, cmp.Or(c.Account, strconv.Itoa(int(c.UID))))
	}
	if r.Channel == "" && id.RTM != nil {
		users = append(users, id.RTM.UserID)
	}
	if r.Channel == "" && id.Chat != nil {
		users = append(users, id.Chat.UserID)
	}
	return r.App == k.App && (r.Subject == "" || r.Subject == k.Subject) &&
		(r.Channel == "" || r.Channel == channel) && slices.Contains(users, r.User)
}

// TestMatches compares Revoked, Matches and the ended sessions with the results of the
// function `matches`, while revocations are added, are lifted and end.
func TestMatches(t *testing.T) {
	name := func(of ...string) *rapid.Generator[string] { return rapid.SampledFrom(of) }
	channels, users, subjects := name("", "daily", "1"), name("", "0", "1", "2", "ana"), name("", "ana", "bob")
	revocations := rapid.Custom(func(rt *rapid.T) store.Revocation {
		r := store.Revocation{
			Selector: store.Selector{
				App: name("app", "else").Draw(rt, "app"), Channel: channels.Draw(rt, "channel"),
				User: users.Draw(rt, "user"), Subject: subjects.Draw(rt, "subject"),
			},
			Until: session.UnixSec(rapid.IntRange(1, 20).Draw(rt, "until")), Version: 1,
		}
		if r.Everybody() {
			r.Subject = "ana"
		}
		return r
	})
	keys := rapid.Custom(func(rt *rapid.T) session.ResumeClaims {
		k := session.ResumeClaims{App: name("app", "else").Draw(rt, "app"), Subject: subjects.Draw(rt, "subject")}
		if rapid.Bool().Draw(rt, "rtc") {
			k.Identity.RTC = &session.RTC{
				Channel: name("daily", "1").Draw(rt, "channel"), UID: rapid.Uint32Range(0, 2).Draw(rt, "uid"),
				Account: users.Draw(rt, "account"),
			}
		}
		if rapid.Bool().Draw(rt, "rtm") {
			k.Identity.RTM = &session.RTM{UserID: name("0", "1", "ana").Draw(rt, "rtm user")}
		}
		if rapid.Bool().Draw(rt, "chat") {
			k.Identity.Chat = &session.Chat{UserID: name("0", "1", "ana").Draw(rt, "chat user")}
		}
		return k
	})
	rapid.Check(t, func(rt *rapid.T) {
		var now session.UnixSec
		n := newNode(t, newShared(), "a")
		n.clock = func() time.Time { return now.Time() }
		close(n.loaded)
		model := make(map[string]*store.Revocation)
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				r := revocations.Draw(rt, "revocation")
				r.ID, r.Until = strconv.Itoa(len(model)), r.Until+now
				model[r.ID] = &r
				n.merge([]store.Revocation{r}, nextChange)
			},
			"lift": func(rt *rapid.T) {
				if r := model[strconv.Itoa(rapid.IntRange(0, max(0, len(model)-1)).Draw(rt, "which"))]; r != nil && !r.Lifted {
					r.Lifted, r.Version = true, 2
					n.merge([]store.Revocation{*r}, nextChange)
				}
			},
			"wait": func(rt *rapid.T) { now += session.UnixSec(rapid.IntRange(1, 5).Draw(rt, "seconds")) },
			"expire": func(rt *rapid.T) {
				n.expire()
				for id := range n.entries {
					if model[id].Until <= now {
						rt.Errorf("%s is over and still there", id)
					}
				}
			},
			"": func(rt *rapid.T) {
				k := keys.Draw(rt, "key")
				want := false
				for _, r := range model {
					if r.Matches(&k) != matches(r, &k) {
						rt.Errorf("%+v matches %+v: %v", r, k, r.Matches(&k))
					}
					want = want || r.Standing(now) && matches(r, &k)
				}
				if got := n.Revoked(&k); got != want {
					rt.Errorf("%+v is revoked: %v, want %v", k, got, want)
				}
			},
		})
	})
}

func TestEndsWhatMatches(t *testing.T) {
	for _, count := range []int{few, few + 1} {
		withStore(t, func(t *testing.T, s *shared) {
			a := start(t, s, "a")
			b := newNode(t, s, "b")
			for i := range 2 * count {
				b.join(fmt.Sprint(i), uint32(i))
				if i%2 == 0 {
					a.add(revocation(i))
				}
			}
			b.run()
			synctest.Wait()
			for id, k := range b.open() {
				if k.Identity.RTC.UID%2 == 0 {
					t.Errorf("session %s goes on", id)
				}
			}
			slices.Sort(b.ended)
			if got := len(slices.Compact(b.ended)); got != count {
				t.Errorf("ended for %d revocations, want %d", got, count)
			}
		})
	}
}

// fill merges `count` revocations of a project into the node, as if the node had read them from the store. They match
// the users with the numbers from `from` on.
func (n *node) fill(app string, from, count int) {
	all := make([]store.Revocation, count)
	for i := range all {
		all[i] = revocation(from + i)
		all[i].App, all[i].ID, all[i].Version = app, fmt.Sprintf("%s%07d", app, from+i), 1
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n.merge(all, nextChange)
}

func (n *node) wantNoRoom(r store.Revocation) {
	n.t.Helper()
	_, _, err := n.Add(n.t.Context(), r)
	refusal, ok := errors.AsType[*session.Error](err)
	if !ok || refusal.Code != session.CodeUnavailable || refusal.RetryAfter != time.Minute || !strings.HasPrefix(refusal.Message, "too many revocations") {
		n.t.Errorf("one of too many: %v", err)
	}
}

// TestBound: each project can have an equal part of the revocations, and cannot use the
// part of another project. Ended revocations make room, lifted ones do not.
func TestBound(t *testing.T) {
	for _, projects := range []int{2, 1000} {
		synctest.Test(t, func(t *testing.T) {
			a := newNode(t, newShared(), "a")
			a.config.Projects = projects
			apps := []string{"greedy", "modest"}
			for _, app := range apps {
				a.fill(app, 0, store.MaxRevocations/projects-1)
				r := revocation(-1)
				r.App = app
				last, _ := a.add(r)
				if _, err := a.Lift(t.Context(), app, last.ID); err != nil {
					t.Fatal(err)
				}
				a.wantNoRoom(r)
			}
			time.Sleep(time.Hour) // bubble
			for _, app := range apps {
				r := revocation(-1)
				r.App = app
				a.add(r)
			}
			if a.holds() != len(apps) {
				t.Errorf("%d are held", a.holds())
			}
		})
	}
}

func TestStoreFull(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		first, _ := a.add(revocation(1))
		s.set(func(s *shared) { s.room = 1 })
		time.Sleep(time.Second) // bubble
		before := a.link.putCount()
		a.wantNoRoom(revocation(2))
		a.lift(first.ID)
		s.set(func(s *shared) { s.room = 0 })
		time.Sleep(10 * time.Minute) // bubble
		a.wantRevoked(2, false)
		other.wantRevoked(2, false)
		if got := a.link.putCount() - before; got != 2 || a.holds() != 1 || a.lacks() != 0 || !strings.Contains(a.log.String(), "refused, too many revocations") {
			t.Errorf("put %d times, want each once; has %+v, and logged\n%s", got, a.Set, a.log)
		}
	})
}

// TestStoreFullAfterAll: revocations that were added while the store was down have effect on this
// node even if the store is full. The node tries once a minute to put them into the store, but
// stores a lifted revocation at once if the store already has an older version of it.
func TestStoreFullAfterAll(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		const many = 300
		first, _ := a.add(revocation(1))
		a.link.set(cutOff)
		for i := range many {
			a.addUnsaved(revocation(2 + i))
		}
		if _, err := a.Lift(t.Context(), "app", first.ID); !errors.Is(err, store.ErrUnsaved) {
			t.Fatal(err)
		}
		s.set(func(s *shared) { s.room = 1 })
		a.link.set(func(l *link) { l.away, l.puts = false, 0 })
		time.Sleep(2 * maxRetry) // bubble
		other.wantRevoked(1, false)
		other.wantRevoked(2, false)
		time.Sleep(10*fullPause - 2*maxRetry) // bubble
		a.wantRevoked(2, true)
		if got := a.link.putCount(); got < 5*many || got > 13*many {
			t.Errorf("%d puts in ten minutes for %d revocations", got, many)
		}
		if n := strings.Count(a.log.String(), "too many revocations for Redis"); n < 5 || n > 11 {
			t.Errorf("want one line a minute that the store is full:\n%s", a.log)
		}
		s.set(func(s *shared) { s.room = 0 })
		time.Sleep(fullPause + time.Second) // bubble
		other.wantRevoked(2, true)
		a.wantLacks(0)
	})
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newShared(), "a")
		var want, got []string
		for i := range 3*pageSize + 1 {
			r := revocation(i)
			if i%10 == 5 {
				r.Until = session.SecOf(time.Now()) + 3
			}
			r, _ = a.add(r)
			switch i % 10 {
			case 3:
				a.lift(r.ID)
			case 5:
			default:
				want = append(want, r.ID)
			}
		}
		time.Sleep(3 * time.Second) // bubble
		slices.Sort(want)
		for after, more := "", true; more; more = after != "" {
			page, next, err := a.List("app", after)
			if err != nil || len(page) > pageSize {
				t.Fatalf("%d on a page, %v", len(page), err)
			}
			for i := range page {
				got = append(got, page[i].ID)
			}
			after = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d listed, want %d", len(got), len(want))
		}
	})
}

func TestPageCostsWhatItHolds(t *testing.T) {
	fastest := func(count int) time.Duration {
		a := newNode(t, newShared(), "a")
		close(a.loaded)
		a.fill("app", 0, count)
		best := time.Hour
		for range 100 {
			began := time.Now()
			page, next, err := a.List("app", fmt.Sprintf("app%07d", count/2))
			best = min(best, time.Since(began))
			if err != nil || len(page) != pageSize || next == "" {
				t.Fatalf("%d of %d, then %q, %v", len(page), count, next, err)
			}
		}
		return best
	}
	count := store.MaxRevocations / 10
	if few, many := fastest(1000), fastest(count); many > 20*few {
		t.Errorf("a page takes %s among 1,000, and %s among %d", few, many, count)
	}
}

// TestManyCostLittle: with many revocations, a look-up takes microseconds, and the memory stays
// within a limit.
func TestManyCostLittle(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const count, lookUps = store.MaxRevocations / 10, 1000
	a := newNode(t, newShared(), "a")
	before := heap()
	a.fill("app", 0, count)
	bytes := int(heap()-before) / count
	k := key("daily", 1_000_000)
	best := time.Hour // the fastest of 100 rounds counts, since the machine may be busy
	for range 100 {
		began := time.Now()
		for range lookUps {
			if a.Revoked(k) {
				t.Fatal("revoked")
			}
		}
		best = min(best, time.Since(began)/lookUps)
	}
	if bytes > 1000 || best > 50*time.Microsecond {
		t.Errorf("%d revocations: %d B each, %s a look-up", count, bytes, best)
	}
	runtime.KeepAlive(a)
}
