package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
	"refresher/internal/store"
)

// FuzzUnpack checks that a record that was read can be written again as the same text, except
// for the order of words and leading zeros.
func FuzzUnpack(f *testing.F) {
	add := func(r store.Record) {
		p := packed(&r)
		f.Add(p["f"], p["s"], p["g"], p["due"], p["c"], p["u"], p["a"], p["j"], p["m"], p["h"], byte(0xff))
	}
	add(record("S"))
	other := overdue("S")
	other.State, other.Reason = session.Ended, session.EndLeft
	other.Subject, other.Terms.MayPublish, other.Terms.Format = "ana", true, session.Format006
	other.Identity = session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}, Chat: &session.Chat{UserID: "ana"}}
	add(other)
	f.Add("1 3 2 d ABC P 1800000000500 17", "9mlJU 1800003600 h1 b1800 i3600 a1797 v-1 d3599877 c0badf00d", "01234567 3600 4103049600 p 007-single", "1", "c", "7", "", "", "", "", byte(3))
	f.Add("1 3 2 x ABC + 0 17", "0 0 h-1 b999999999999999 a-999999999999999 d-1", "  0", "1", "c", "7", "", "", "", "", byte(3))
	f.Fuzz(func(t *testing.T, fence, state, grant, due, channel, uid, account, subject, rtm, chat string, has byte) {
		fields := map[string]string{fieldFence: fence, fieldState: state, fieldGrant: grant, fieldDue: due}
		for i, field := range []struct{ name, value string }{
			{fieldChannel, channel}, {fieldUID, uid}, {fieldAccount, account}, {fieldSubject, subject}, {fieldRTM, rtm}, {fieldChat, chat},
		} {
			if has&(1<<i) != 0 {
				fields[field.name] = field.value
			}
		}
		r, err := unpack("S", fields)
		if err != nil || r.Removable() { // a removable record is never stored, so it need not be written again
			return
		}
		r.WishPending = false // no node writes WishPending: only a script sets it
		r.Node = store.NodeID(r.Node)
		again, err := unpack("S", packed(&r))
		must(t, err)
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}
