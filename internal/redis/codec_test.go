package redis

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

func packed(r *store.Record) map[string]string {
	fields := map[string]string{
		fieldFence: packFence(r), fieldState: packState(r), fieldDue: fmt.Sprint(r.Due),
	}
	granted := grant(r)
	for i := 0; i < len(granted); i += 2 {
		fields[granted[i].(string)] = fmt.Sprint(granted[i+1]) //nolint:forcetypeassert // these are the names of fields
	}
	return fields
}

// TestStoredForm checks the stored form byte for byte, since nodes of two releases read
// each other's records.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	r := record("S")
	r.Epoch, r.Proven, r.Version, r.Node, r.ApprovedAt = 3, 2, 17, "ABC", 0
	r.Seq, r.HeldSeq, r.Delivered, r.Certificate = 9, 8, store.DeliveredJoined|store.DeliveredUnreachable, 0xbadf00d
	r.ExpiresAt, r.HeldExpiresAt, r.IssuedAt, r.AckedAt = 1_800_003_600, 1_800_001_800, 1_800_000_000, 1_799_998_203
	r.TokensExpired, r.Subject, r.Terms.MayPublish = true, "ana", true
	r.Terms.Format = session.FormatSingle
	grants := map[string]string{
		"g": "01234567 3600 4103049600 p 007-single",
		"c": "consultation-58213", "u": "2882341273", "m": "doctor-17", "j": "ana",
	}
	for _, form := range []struct {
		change       func()
		fence, state string
	}{
		{func() {}, "1 3 2 a ABC p 0 17", "9rJU 1800003600 h1 b1800 a1797 c0badf00d"},
		{func() {
			r.State, r.DetachedAt, r.ApprovedAt = session.Detached, 1_800_000_000_123, 1_800_000_001
			r.Unreachable, r.TokensExpired, r.ExpiryReported = true, false, true
			r.WishVersion = 1_800_000_000_500
		}, "1 3 2 d ABC p 1800000000500 17", "9mlJU 1800003600 h1 b1800 a1797 v-1 d3599877 c0badf00d"},
		{func() {
			r.State, r.Reason, r.DetachedAt, r.ApprovedAt = session.Ended, session.EndExpired, 0, 0
			r.Identity.RTC.Role, r.HeldSeq, r.HeldExpiresAt, r.IssuedAt, r.AckedAt = session.Subscriber, 9, r.ExpiresAt, 0, 0
		}, "1 3 2 x ABC s 1800000000500 17", "9mlJU 1800003600 i1800003600 c0badf00d =expired"},
		{func() { r.Delivered |= store.DeliveredEnd }, "1 3 2 g ABC s 1800000000500 17", "9mlJUE 1800003600 i1800003600 c0badf00d =expired"},
		{func() { r.Reason, r.Certificate = session.EndLeft, 0 }, "1 3 2 b ABC s 1800000000500 17", "9mlJUE 1800003600 i1800003600 =left"},
		{func() { r.Delivered, r.Unreachable, r.ExpiryReported = 0, false, false }, "1 3 2 e ABC s 1800000000500 17", "9 1800003600 i1800003600 =left"},
	} {
		form.change()
		want := map[string]string{"f": form.fence, "s": form.state, "due": "4102447800000"}
		maps.Copy(want, grants)
		if diff := cmp.Diff(want, packed(&r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	r.Identity = session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}, Chat: &session.Chat{UserID: "ana"}}
	want := []any{"g", "01234567 3600 4103049600", "c", "c", "a", "ana", "h", "ana"}
	r.Subject, r.Terms.MayPublish, r.Terms.Format = "", false, session.Format007
	if diff := cmp.Diff(want, grant(&r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.Identity.RTC = nil
	if got, want := packFence(&r), "1 3 2 e ABC - 1800000000500 17"; got != want {
		t.Errorf("without RTC: %q, want %q", got, want)
	}
}

func TestFenceOfAPendingWish(t *testing.T) {
	t.Parallel()
	for letter, want := range map[string]struct {
		rtc     *session.RTC
		pending bool
	}{
		"p": {&session.RTC{Role: session.Publisher}, false}, "P": {&session.RTC{Role: session.Publisher}, true},
		"s": {&session.RTC{}, false}, "S": {&session.RTC{}, true}, "-": {nil, false}, "+": {nil, true},
	} {
		var r store.Record
		err := unpackFence("1 3 2 a ABC "+letter+" 1800000000500 17", &r)
		if err != nil || r.WishPending != want.pending || r.WishVersion != 1_800_000_000_500 || !cmp.Equal(r.Identity.RTC, want.rtc) {
			t.Errorf("%s: %+v, %v", letter, r, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		got, err := unpack(want.Session, packed(&want))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// maxEpoch is a very high epoch, which session.Record.Check still accepts.
const maxEpoch = 1 << 50

func drawRecord(t *rapid.T) store.Record {
	moment := func(most int64) *rapid.Generator[int64] {
		return rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, most))
	}
	unix := rapid.Map(moment(int64(session.MaxUnix)), func(n int64) session.UnixSec { return session.UnixSec(n) })
	ms := rapid.Map(moment(int64(session.MaxUnix.Milli())), func(n int64) session.UnixMilli { return session.UnixMilli(n) })
	seq := rapid.Uint64Range(0, session.MaxSeq)
	counter := rapid.Uint64Range(0, maxEpoch)
	name := rapid.StringMatching(`.{1,20}`)
	var r store.Record
	word := rapid.StringMatching(`[!-,.-~]{1,8}`)
	r.Session, r.App, r.Node = name.Draw(t, "session"), word.Draw(t, "app"), word.Draw(t, "node")
	r.Certificate = session.Fingerprint(rapid.Uint32().Draw(t, "certificate"))
	r.WishVersion = ms.Draw(t, "wish")
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
	r.Unreachable, r.TokensExpired, r.ExpiryReported = rapid.Bool().Draw(t, "missed"), rapid.Bool().Draw(t, "ran out"), rapid.Bool().Draw(t, "reported")
	r.Fetched = rapid.Bool().Draw(t, "fetched")
	r.Delivered = store.Delivered(rapid.Uint8Range(0, 7).Draw(t, "told"))
	r.State = rapid.SampledFrom([]session.State{session.Attached, session.Detached, session.Ended}).Draw(t, "state")
	if r.State == session.Ended {
		reasons := []session.EndReason{session.EndLeft, session.EndRevoked, session.EndDenied, session.EndExpired, "of-a-later-release"}
		if r.Reason = rapid.SampledFrom(reasons).Draw(t, "reason"); r.Removable() {
			r.Delivered &^= store.DeliveredEnd // a store removes the record of an expired session once your back end has acknowledged the end
		}
	}
	if rapid.Bool().Draw(t, "rtc") {
		r.Identity.RTC = &session.RTC{
			Channel: name.Draw(t, "channel"), Account: rapid.String().Draw(t, "account"),
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

func TestUnreadableFieldsAreNamed(t *testing.T) {
	t.Parallel()
	const words, number = "not in the form that docs/understand/redis.md describes", "not a number, or out of range"
	for _, bad := range []struct{ field, value, want string }{
		{"f", "", words},
		{"f", "1 1 1 a node p 0", words},
		{"f", "1 1 1 a  p 0 1", number},
		{"f", "2 1 1 a node p 0 1", "format 2, and this release reads 1"},
		{"f", "1 x 1 a node p 0 1", number},
		{"f", "1 1 1 a node p 0 -1", number},
		{"f", "1 1 1 a node p 9007199254740993 1", number},
		{"f", "1 1 1 g node p 0 1", `state "g"`},
		{"f", "1 1 1 a node q 0 1", `role "q"`},
		{"s", "", "invalid syntax"},
		{"s", "1", number},
		{"s", "1 9007199254740993", number},
		{"s", "1 1 z1", words},
		{"s", "1 1 a1 i1", words},
		{"s", "1 1 cg", "invalid syntax"},
		{"s", "1JX 1", words},
		{"due", "soon", "invalid syntax"},
		{"g", "01234567 3600", words},
		{"g", "012345678 3600 1", words},
		{"g", "01234567 3600.5 1", number},
		{"g", "01234567 3600 1 x", "tokenFormat"},
		{"g", "01234567 3600 1 p 006 x", words},
		{"u", "-1", "want a channel, and a uid or an account"},
		{"u", "4294967296", "want a channel, and a uid or an account"},
		{"c", "", "want a channel, and a uid or an account"},
	} {
		r := record("S")
		fields := packed(&r)
		fields[bad.field] = bad.value
		_, err := unpack("S", fields)
		if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.HasPrefix(err.Error(), "field") {
			t.Errorf("%s %q: %v, want %s", bad.field, bad.value, err, bad.want)
		}
	}
}

// TestStateIsShort: Redis stores a hash compactly only while none of its values is longer than 64
// bytes, and never makes a hash compact again. The state contains the seq, which grows, so the test
// uses the seq of a session after a week.
func TestStateIsShort(t *testing.T) {
	t.Parallel()
	const now = 1_800_000_000
	for lifetime, seq := range map[session.UnixSec]uint64{10: 60_480, 3600: 168, 86_400: 8} {
		r := record("S")
		r.Seq, r.HeldSeq, r.Certificate = seq, seq-1, 0xbadf00d
		r.ExpiresAt, r.HeldExpiresAt, r.IssuedAt = now+lifetime, now, now
		r.AckedAt, r.ApprovedAt = now-lifetime, now+1
		r.Unreachable, r.TokensExpired, r.Delivered = true, true, store.DeliveredJoined|store.DeliveredUnreachable
		r.State, r.DetachedAt = session.Detached, now*1000
		if state := packState(&r); len(state) > 64 {
			t.Errorf("%q has %d bytes", state, len(state))
		}
	}
}
