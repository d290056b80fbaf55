package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRenewSetsDeadlines(t *testing.T) {
	const s = time.Second
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", 100*s)))
		events := listen(call, start)
		pass(80 * s) // the warning came at second 70
		mustRenew(t, call, rtc("7", 100*s))
		pass(10 * s)
		mustRenew(t, call, rtc("7", 40*s)) // the call now ends at second 130
		pass(5 * s)
		mustRenew(t, call, rtc("7", 10*s)) // the call now ends at second 105, so the warning comes at once
		pass(5 * s)
		silent := rtc("7", 50*s) // the call will end at second 150, without any event
		silent.parts[0].privileges = []uint32{1, 0}
		mustRenew(t, call, silent)
		pass(45 * s)
		mustRenew(t, call, rtc("7", 60*s)) // the call now ends at second 205
		want := []timed{{70 * s, WillExpire}, {95 * s, WillExpire}, {175 * s, WillExpire}, {205 * s, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		least := 5.0
		if diff := cmp.Diff(Tally{HeldSeconds: 205, Joins: 1, RenewalsAccepted: 5, Drops: 1, MinMarginSeconds: &least}, e.Record().Total); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	})
}

func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", 100*time.Second)))
		events := listen(call, start)
		expired := rtc("7", time.Hour)
		expired.issued = start.Add(-time.Hour)
		other := rtc("7", time.Hour)
		other.app = otherApp
		for name, c := range map[string]struct {
			mint mint
			want int
		}{"user": {rtc("8", time.Hour), CodeInvalidToken}, "app": {other, CodeInvalidToken}, "expired": {expired, CodeExpired}} {
			if err := call.Renew(c.mint.token()); codeOf(t, err) != c.want {
				t.Errorf("%s: got %v, want code %d", name, err, c.want)
			}
		}
		want := []timed{{70 * time.Second, WillExpire}, {100 * time.Second, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("the old token's events (-want +got):\n%s", diff)
		}
		if again := mustJoin(t, e, inRoom("7", rtc("7", time.Hour))); !again.InCall() {
			t.Error("the new join does not count")
		}
		if err := call.Renew(rtc("7", time.Hour).token()); codeOf(t, err) != CodeNotJoined || call.InCall() {
			t.Errorf("the old call renewed: %v", err)
		}
		if total := e.Record().Total; total.RenewalsRefused != 3 || total.RenewalsAccepted != 0 || total.MinMarginSeconds != nil {
			t.Errorf("record: %+v", total)
		}
		e.Close()
	})
}

// A token is invalid from the second of its expiry on.
func TestRenewAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
		pass(time.Minute)
		if err := call.Renew(rtc("7", time.Minute).token()); codeOf(t, err) != CodeNotJoined {
			t.Errorf("got %v", err)
		}
		call = mustJoin(t, e, inRoom("8", rtc("8", time.Minute)))
		pass(time.Minute - 1)
		mustRenew(t, call, rtc("8", time.Hour))
		if margin := *e.Record().Total.MinMarginSeconds; margin != 1e-9 {
			t.Errorf("margin %v s, want a nanosecond", margin)
		}
		e.Close()
	})
}

func TestRoleChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		defer e.Close()
		m := rtc("7", time.Hour)
		call := mustJoin(t, e, inRoom("7", m))
		for _, c := range []struct {
			privileges []uint32
			want       bool
		}{
			{[]uint32{1, 3600}, false},
			{publisher(time.Hour), true},
			{[]uint32{1, 3600, 2, 3600}, false},
			{[]uint32{1, 3600, 2, 3600, 3, 3600}, false},
			{[]uint32{1, 3600, 2, 3600, 3, 60, 4, 3600}, true},
		} {
			m.parts[0].privileges = c.privileges
			mustRenew(t, call, m)
			if got := call.Publishing(); got != c.want {
				t.Errorf("%v: publishing is %v", c.privileges, got)
			}
		}
		pass(time.Minute)
		if call.Publishing() || !call.InCall() {
			t.Error("only a publishing privilege has expired")
		}
	})
}

// A renewal with the token that is in use counts, and warns the client again. RTM ignores it.
func TestRenewWithTheSameToken(t *testing.T) {
	const s = time.Second
	for leg, c := range map[Leg]struct {
		join     func() JoinRequest
		events   []timed
		accepted int
	}{
		RTC: {func() JoinRequest { return inRoom("7", rtc("7", time.Minute)) }, []timed{{30 * s, WillExpire}, {40 * s, WillExpire}, {60 * s, DidExpire}}, 1},
		RTM: {func() JoinRequest { return JoinRequest{RTM, "", "ann", login(2, "ann", time.Minute).token()} }, []timed{{30 * s, WillExpire}, {60 * s, DidExpire}}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			e := newEdge(t)
			join := c.join()
			call := mustJoin(t, e, join)
			events := listen(call, start)
			pass(40 * s)
			if err := call.Renew(join.Token); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.events, events()); diff != "" {
				t.Errorf("%s: events (-want +got):\n%s", leg, diff)
			}
			if total := e.Record().Total; total.RenewalsAccepted != c.accepted || total.RenewalsRefused != 0 {
				t.Errorf("%s: %+v", leg, total)
			}
		})
	}
}

func TestSetCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		defer e.Close()
		signed := func(cert, user string) mint {
			m := rtc(user, time.Minute)
			m.cert = cert
			return m
		}
		// demand replaces the certificates, and checks the code of a join with a token of each certificate.
		demand := func(primary, secondary string, want map[string]int) {
			t.Helper()
			if err := e.SetCertificates(primary, secondary); err != nil {
				t.Fatal(err)
			}
			for cert, code := range want {
				if _, err := e.Join(inRoom("9", signed(cert, "9"))); codeOf(t, err) != code {
					t.Errorf("a token of %.4s…: %v, want code %d", cert, err, code)
				}
			}
		}
		kept := mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
		lost := mustJoin(t, e, inRoom("8", rtc("8", time.Minute)))
		demand(secondCert, testCert, map[string]int{secondCert: 0, testCert: 0})
		demand(secondCert, "", map[string]int{secondCert: 0, testCert: CodeInvalidToken})
		pass(30 * time.Second)
		mustRenew(t, kept, signed(secondCert, "7"))
		if err := lost.Renew(signed(testCert, "8").token()); codeOf(t, err) != CodeInvalidToken || !lost.InCall() {
			t.Errorf("renewed by the deleted certificate: %v, in call: %v", err, lost.InCall())
		}
		pass(30 * time.Second)
		if !kept.InCall() || lost.InCall() {
			t.Errorf("renewed: %v, not renewed: %v", kept.InCall(), lost.InCall())
		}
	})
}
