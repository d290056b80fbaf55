package redis

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

// packed is the whole hash of a record, as the scripts answer with it.
func packed(r *store.Record) map[string]string {
	fields := map[string]string{
		fieldFence: packFence(r), fieldState: packState(r), fieldDue: fmt.Sprint(r.Due),
	}
	granted := grant(r)
	for i := 0; i < len(granted); i += 2 {
		fields[granted[i].(string)] = fmt.Sprint(granted[i+1]) //nolint:forcetypeassert // the names of fields.
	}
	return fields
}

// TestStoredForm holds what is stored to the letter: nodes of two releases read
// each other's records.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	r := record("S")
	r.Epoch, r.Proven, r.Version, r.Node = 3, 2, 17, "host of mine-ABC"
	r.Seq, r.HeldSeq, r.Delivered = 9, 8, store.DeliveredJoined|store.DeliveredUnreachable
	r.ExpiresAt, r.HeldExpiresAt, r.IssuedAt, r.AckedAt = 1_800_003_600, 1_800_001_800, 1_800_000_000, 1_799_998_203
	r.RanOut, r.Subject, r.Terms.MayPublish = true, "ana", true
	r.Terms.Format = session.FormatSingle
	grants := map[string]string{
		"app": "0123456789abcdef0123456789abcdef", "ttl": "3600", "until": "4103049600",
		"channel": "consultation-58213", "uid": "2882341273", "rtm": "doctor-17",
		"subject": "ana", "publish": "1", "format": "007-single",
	}
	for _, form := range []struct {
		change       func()
		fence, state string
	}{
		{func() {}, "1 3 2 a host of mine-ABC 17", "9 1800003600 8 1800 0 18 3 3600 5397 - "},
		{func() {
			r.State, r.DetachedAt, r.ApprovedAt = session.Detached, 1_800_000_000_123, 1_799_999_900
			r.Missed, r.RanOut, r.Reported = true, false, true
		}, "1 3 2 d host of mine-ABC 17", "9 1800003600 8 1800 1800000000123 21 3 3600 5397 3700 "},
		{func() {
			r.State, r.Reason, r.DetachedAt, r.ApprovedAt = session.Ended, session.EndExpired, 0, r.ExpiresAt+7
			r.Identity.RTC.Role, r.HeldExpiresAt, r.IssuedAt, r.AckedAt = session.Subscriber, r.ExpiresAt, 0, 0
		}, "1 3 2 x host of mine-ABC 17", "9 1800003600 8 0 0 5 3 - - -7 expired"},
		{func() { r.Delivered |= store.DeliveredEnd }, "1 3 2 g host of mine-ABC 17", "9 1800003600 8 0 0 5 7 - - -7 expired"},
		{func() { r.Reason = session.EndLeft }, "1 3 2 b host of mine-ABC 17", "9 1800003600 8 0 0 5 7 - - -7 left"},
		{func() { r.Delivered, r.Fetched = 0, true }, "1 3 2 e host of mine-ABC 17", "9 1800003600 8 0 0 13 0 - - -7 left"},
	} {
		form.change()
		want := map[string]string{"fence": form.fence, "state": form.state, "due": "4102447800000"}
		maps.Copy(want, grants)
		if diff := cmp.Diff(want, packed(&r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	r.Identity = session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}, Chat: &session.Chat{UserID: "ana"}}
	want := []any{"app", r.App, "ttl", int64(3600), "until", int64(r.Terms.Until), "channel", "c", "account", "ana", "chat", "ana"}
	r.Subject, r.Terms.MayPublish, r.Terms.Format = "", false, session.Format007
	if diff := cmp.Diff(want, grant(&r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStateOfARunningNode holds the length of what a node writes of a session after a
// renewal: every time in it is told in the unit that it is stored in.
func TestStateOfARunningNode(t *testing.T) {
	t.Parallel()
	r := storetest.Renewed("S", "a", session.Identity{RTM: &session.RTM{UserID: "u"}}, time.UnixMilli(1_800_000_000_450))
	if got, want := packState(&r), "2 1800003600 2 0 0 0 1 3600 3600 - "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRoundTrip has any record come back as it was.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		got, err := unpack(want.Session, packed(&want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func drawRecord(t *rapid.T) store.Record {
	moment := func(most int64) *rapid.Generator[int64] {
		return rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, most))
	}
	unix := rapid.Map(moment(int64(session.MaxUnix)), func(n int64) session.UnixSec { return session.UnixSec(n) })
	ms := rapid.Map(moment(int64(session.MaxUnix.Milli())), func(n int64) session.UnixMilli { return session.UnixMilli(n) })
	seq := rapid.Uint64Range(0, session.MaxSeq)
	counter := rapid.Uint64Range(0, maxVersion)
	name := rapid.StringMatching(`.{1,20}`)
	var r store.Record
	r.Session, r.App, r.Node = name.Draw(t, "session"), name.Draw(t, "app"), rapid.String().Draw(t, "node")
	r.Subject = rapid.String().Draw(t, "subject")
	r.Epoch, r.Proven, r.Version = counter.Draw(t, "epoch"), counter.Draw(t, "proven"), counter.Draw(t, "version")
	r.Terms = session.Terms{
		TTL:   time.Duration(rapid.Int64Range(1, 86_400).Draw(t, "ttl")) * time.Second,
		Until: unix.Draw(t, "until"), MayPublish: rapid.Bool().Draw(t, "may publish"),
		Format: rapid.SampledFrom([]session.Format{session.Format007, session.Format006, session.FormatSingle}).Draw(t, "format"),
	}
	r.Seq, r.HeldSeq = seq.Draw(t, "seq"), seq.Draw(t, "held")
	r.ExpiresAt, r.HeldExpiresAt = unix.Draw(t, "expires"), unix.Draw(t, "held expires")
	r.IssuedAt, r.AckedAt, r.ApprovedAt = unix.Draw(t, "issued"), unix.Draw(t, "acked"), unix.Draw(t, "approved")
	r.DetachedAt, r.Due = ms.Draw(t, "detached"), ms.Draw(t, "due")
	r.Missed, r.RanOut, r.Reported = rapid.Bool().Draw(t, "missed"), rapid.Bool().Draw(t, "ran out"), rapid.Bool().Draw(t, "reported")
	r.Fetched = rapid.Bool().Draw(t, "fetched")
	r.Delivered = store.Delivered(rapid.Uint8().Draw(t, "told"))
	r.State = rapid.SampledFrom([]session.State{session.Attached, session.Detached, session.Ended}).Draw(t, "state")
	if r.State == session.Ended {
		reasons := []session.EndReason{session.EndLeft, session.EndRevoked, session.EndDenied, session.EndExpired, "of a later release"}
		if r.Reason = rapid.SampledFrom(reasons).Draw(t, "reason"); r.Removable() {
			r.Delivered &^= store.DeliveredEnd // or it would not be stored
		}
	}
	if rapid.Bool().Draw(t, "rtc") {
		r.Identity.RTC = &session.RTC{
			Channel: rapid.String().Draw(t, "channel"), Account: rapid.String().Draw(t, "account"),
			Role: rapid.SampledFrom([]session.Role{session.Subscriber, session.Publisher}).Draw(t, "role"),
		}
		if r.Identity.RTC.Account == "" {
			r.Identity.RTC.UID = rapid.Uint32().Draw(t, "uid")
		}
	}
	if rapid.Bool().Draw(t, "rtm") {
		r.Identity.RTM = &session.RTM{UserID: rapid.String().Draw(t, "user")}
	}
	if r.Identity == (session.Identity{}) || rapid.Bool().Draw(t, "chat") {
		r.Identity.Chat = &session.Chat{UserID: rapid.String().Draw(t, "user")}
	}
	return r
}

// TestUnreadable has what is missing or wrong in a hash named.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct{ field, value, want string }{
		{"fence", "", `fence "": want 6 words`},
		{"fence", "1 1 1 a node", `fence "1 1 1 a node": want 6 words`},
		{"fence", "1 x 1 a node 1", `fence "1 x 1 a node 1": "x" is no number`},
		{"fence", "1 1 1 a node x", `fence "1 1 1 a node x": "x" is no number`},
		{"fence", "1 1 1 g node 1", `fence "1 1 1 g node 1": unknown letter`},
		{"state", "", `state "": want 11 words`},
		{"state", "1 1 1 1 1 1 1 1 1 1", `state "1 1 1 1 1 1 1 1 1 1": want 11 words`},
		{"state", "1 1 -1 1 1 1 1 1 1 1 ", `state "1 1 -1 1 1 1 1 1 1 1 ": word 3 is no number`},
		{"state", "1 - 1 1 1 1 1 1 1 1 ", `state "1 - 1 1 1 1 1 1 1 1 ": word 2 is no number`},
		{"state", "1 1 1 1 1 1 1 1 2 1 ", `state "1 1 1 1 1 1 1 1 2 1 ": word 9 is no number`},
		{"state", "1 9 1 -9223372036854775807 1 1 1 1 1 1 ", `state "1 9 1 -9223372036854775807 1 1 1 1 1 1 ": word 4 is no number`},
		{"state", "1 1 1 1 1 1 256 1 1 1 ", `state "1 1 1 1 1 1 256 1 1 1 ": word 7 is too high`},
		{"due", "soon", `due "soon": want Unix milliseconds`},
		{"ttl", "3600.5", `ttl "3600.5": want seconds`},
		{"until", "", `until "": want Unix seconds`},
		{"uid", "-1", `uid "-1": want a number`},
		{"uid", "4294967296", `uid "4294967296": want a number`},
	} {
		r := record("S")
		fields := packed(&r)
		fields[bad.field] = bad.value
		if _, err := unpack("S", fields); err == nil || err.Error() != bad.want {
			t.Errorf("%s %q: %v, want %s", bad.field, bad.value, err, bad.want)
		}
	}
}

// TestStateIsShort: Redis keeps a hash small only while no field of it has more
// than 64 bytes.
func TestStateIsShort(t *testing.T) {
	t.Parallel()
	const now = 1_800_000_000
	for _, call := range []struct {
		seq      uint64 // after a week
		lifetime session.UnixSec
	}{{60_480, 10}, {168, 3600}, {8, 86_400}} {
		r := record("S")
		r.Seq, r.HeldSeq = call.seq, call.seq-1
		r.ExpiresAt, r.HeldExpiresAt, r.IssuedAt = now+call.lifetime, now, now
		r.AckedAt, r.ApprovedAt = now-call.lifetime, now-call.lifetime
		r.Missed, r.RanOut, r.Reported, r.Fetched, r.Delivered = true, true, true, true, 7
		for range 2 {
			if state := packState(&r); len(state) > 64 {
				t.Errorf("%q has %d bytes", state, len(state))
			}
			r.State, r.DetachedAt = session.Detached, now*1000
		}
	}
}
