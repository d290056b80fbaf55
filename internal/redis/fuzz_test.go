package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
	"refresher/internal/store"
)

// What the readers take is written again the same way, but for what they leave
// out: zeros in front of a number, and what a later release may have added.

func FuzzUnpackState(f *testing.F) {
	for _, text := range []string{
		"9 1800003600 8 1800 1800000000123 21 3 3600 5397 3700 ", "9 1800003600 8 - 0 5 3 - - -7 expired", "1 2 3 4 5 7 255 0 -1 1 left", "",
		"1 1 1 1 1 1 1 1 1 1", "0 0 0 0 0 8 0 0 0 0 a b", "1 0 1 -9223372036854775808 0 0 0 - - - ",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again store.Record
		role, err := unpackState(text, &r)
		if err != nil {
			return
		}
		r.Identity.RTC = &session.RTC{Role: role}
		again.Identity.RTC = &session.RTC{}
		if again.Identity.RTC.Role, err = unpackState(packState(&r), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzUnpackFence(f *testing.F) {
	for _, text := range []string{"1 3 2 a host-ABC 17", "1 1 1 d  0", "2 1 1 x a b c 18446744073709551615", "1 1 1 a 1", "", "1 1 1 q n 1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again store.Record
		if unpackFence(text, &r) != nil {
			return
		}
		if err := unpackFence(packFence(&r), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	add := func(r store.Record) {
		p := packed(&r)
		f.Add(p["fence"], p["state"], p["due"], p["app"], p["ttl"], p["until"], p["channel"], p["uid"], p["account"], p["subject"], p["publish"], p["rtm"], p["chat"], p["format"], byte(0xff))
	}
	add(record("S"))
	other := overdue("S")
	other.State, other.Reason = session.Ended, session.EndLeft
	other.Subject, other.Terms.MayPublish, other.Terms.Format = "ana", true, session.Format006
	other.Identity = session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}, Chat: &session.Chat{UserID: "ana"}}
	add(other)
	f.Fuzz(func(t *testing.T, fence, state, due, app, ttl, until, channel, uid, account, subject, publish, rtm, chat, format string, has byte) {
		fields := map[string]string{fieldFence: fence, fieldState: state, fieldDue: due, fieldApp: app, fieldTTL: ttl, fieldUntil: until}
		for i, field := range []struct{ name, value string }{
			{fieldChannel, channel}, {fieldUID, uid}, {fieldAccount, account}, {fieldSubject, subject}, {fieldPublish, publish}, {fieldRTM, rtm}, {fieldChat, chat}, {fieldFormat, format},
		} {
			if has&(1<<i) != 0 {
				fields[field.name] = field.value
			}
		}
		r, err := unpack("S", fields)
		if err != nil || r.Removable() { // the latter is never stored
			return
		}
		again, err := unpack("S", packed(&r))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}
