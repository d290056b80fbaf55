package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRenewedAllDay is the good case: a day of hourly tokens, renewed a minute early.
func TestRenewedAllDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", time.Hour)))
		events := listen(call, time.Now())
		for range 24 {
			pass(59 * time.Minute)
			mustRenew(t, call, rtc("7", time.Hour))
		}
		if err := call.Leave(); err != nil {
			t.Fatal(err)
		}
		if seen := events(); seen != nil {
			t.Errorf("events: %v", seen)
		}
		margin := 60.0
		want := Tally{HeldSeconds: 24 * 59 * 60, Joins: 1, RenewalsAccepted: 24, MinMarginSeconds: &margin}
		if diff := cmp.Diff(want, e.Record().Total); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	})
}

func TestRenewSetsDeadlines(t *testing.T) {
	const s = time.Second
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", 100*s)))
		events := listen(call, start)
		pass(80 * s) // the warning comes at second 70
		mustRenew(t, call, rtc("7", 100*s))
		if ends := call.granted.ends(); !ends.Equal(start.Add(180 * s)) {
			t.Errorf("ends at %s", ends)
		}
		pass(10 * s)
		mustRenew(t, call, rtc("7", 40*s)) // the end moves forward, to second 130
		pass(5 * s)
		mustRenew(t, call, rtc("7", 10*s)) // the end is at second 105, so the warning comes at once
		pass(5 * s)
		silent := rtc("7", 50*s) // the end is at second 150, without any event
		silent.parts[0].privileges = []uint32{1, 0}
		mustRenew(t, call, silent)
		pass(45 * s)
		mustRenew(t, call, rtc("7", 60*s)) // the end is at second 205
		want := []timed{{70 * s, WillExpire}, {95 * s, WillExpire}, {175 * s, WillExpire}, {205 * s, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", 100*time.Second)))
		events := listen(call, start)
		with := func(change func(*mint)) mint {
			m := rtc("7", time.Hour)
			change(&m)
			return m
		}
		refused := []struct {
			name string
			mint mint
			want int
		}{
			{"uid", rtc("8", time.Hour), 110},
			{"channel", with(func(m *mint) { m.parts[0].names[0] = "hall" }), 110},
			{"app", with(func(m *mint) { m.app = otherApp }), 110},
			{"certificate", with(func(m *mint) { m.cert = secondCert }), 110},
			{"service", login(2, "7", time.Hour), 110},
			{"expired", with(func(m *mint) { m.issued = start.Add(-time.Hour) }), 109},
		}
		for _, c := range refused {
			if err := call.Renew(c.mint.token()); codeOf(t, err) != c.want {
				t.Errorf("other %s: got %v, want code %d", c.name, err, c.want)
			}
		}
		want := []timed{{70 * time.Second, WillExpire}, {100 * time.Second, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("the old token's events (-want +got):\n%s", diff)
		}
		if err := call.Renew(rtc("7", time.Hour).token()); codeOf(t, err) != CodeNotJoined {
			t.Errorf("after the drop: %v", err)
		}
		if total := e.Record().Total; total.RenewalsRefused != len(refused)+1 || total.RenewalsAccepted != 0 || total.MinMarginSeconds != nil {
			t.Errorf("record: %+v", total)
		}
		again := mustJoin(t, e, inRoom("7", rtc("7", time.Hour)))
		if !again.InCall() || call.InCall() {
			t.Error("the fresh join does not count, or the old call has come back")
		}
		if err := call.Renew(rtc("7", time.Hour).token()); codeOf(t, err) != CodeNotJoined {
			t.Errorf("the old call renewed: %v", err)
		}
		e.Close()
	})
}

// TestRenewAtTheEnd renews in the second of the expiry, in which the token is already invalid,
// whether the timer or the renewal comes first.
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
		audience := rtc("7", time.Hour)
		audience.parts[0].privileges = []uint32{1, 3600}
		soundOnly := rtc("7", time.Hour)
		soundOnly.parts[0].privileges = []uint32{1, 3600, 2, 3600}
		noData := rtc("7", time.Hour)
		noData.parts[0].privileges = []uint32{1, 3600, 2, 3600, 3, 3600}
		short := rtc("7", time.Hour)
		short.parts[0].privileges = []uint32{1, 3600, 2, 60, 3, 60, 4, 60}
		call := mustJoin(t, e, inRoom("7", audience))
		for i, c := range []struct {
			mint mint
			want bool
		}{{audience, false}, {rtc("7", time.Hour), true}, {soundOnly, false}, {noData, false}, {short, true}} {
			mustRenew(t, call, c.mint)
			if got := call.Publishing(); got != c.want {
				t.Errorf("renewal %d: publishing is %v", i, got)
			}
		}
		pass(time.Minute)
		if call.Publishing() || !call.InCall() {
			t.Error("the publishing privileges are over, the call is not")
		}
	})
}

func TestRTMSameTokenIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		token := login(2, "ann", time.Minute).token()
		call := mustJoin(t, e, JoinRequest{RTM, "", "ann", token})
		events := listen(call, start)
		pass(40 * time.Second)
		if err := call.Renew(token); err != nil {
			t.Fatal(err)
		}
		want := []timed{{30 * time.Second, WillExpire}, {60 * time.Second, DidExpire}} // the client is not warned again
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if total := e.Record().Total; total.RenewalsAccepted != 0 || total.RenewalsRefused != 0 {
			t.Errorf("record: %+v", total)
		}
	})
}

// Unlike in RTM, the edge treats a renewal with the same token as a new one, and warns of its end again.
func TestRTCSameTokenCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		m := rtc("7", time.Minute)
		m.issued = start
		call := mustJoin(t, e, inRoom("7", m))
		events := listen(call, start)
		pass(40 * time.Second)
		mustRenew(t, call, m)
		want := []timed{{30 * time.Second, WillExpire}, {40 * time.Second, WillExpire}, {60 * time.Second, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if total := e.Record().Total; total.RenewalsAccepted != 1 || *total.MinMarginSeconds != 20 {
			t.Errorf("record: %+v", total)
		}
	})
}

func TestMinMargin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		defer e.Close()
		for user, after := range map[string][]int{"7": {10, 50, 20}, "8": {30, 40}} {
			call := mustJoin(t, e, inRoom(user, rtc(user, time.Minute)))
			for _, seconds := range after {
				pass(time.Duration(seconds) * time.Second)
				mustRenew(t, call, rtc(user, time.Minute))
			}
			if err := call.Leave(); err != nil {
				t.Error(err)
			}
		}
		record := e.Record()
		got := []float64{*record.Calls[0].MinMarginSeconds, *record.Calls[1].MinMarginSeconds, *record.Total.MinMarginSeconds}
		if diff := cmp.Diff([]float64{10, 20, 10}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestSetCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		defer e.Close()
		signed := func(cert, user string, life time.Duration) mint {
			m := rtc(user, life)
			m.cert = cert
			return m
		}
		// use replaces the certificates, and checks how the edge answers tokens that each certificate has signed.
		use := func(primary, secondary string, want map[string]int) {
			t.Helper()
			if err := e.SetCertificates(primary, secondary); err != nil {
				t.Fatal(err)
			}
			for cert, code := range want {
				got := 0
				if call, err := e.Join(inRoom("9", signed(cert, "9", time.Minute))); err != nil {
					got = codeOf(t, err)
				} else if err := call.Leave(); err != nil {
					t.Error(err)
				}
				if got != code {
					t.Errorf("a join with a token of %.4s…: code %d, want %d", cert, got, code)
				}
			}
		}
		kept := mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
		lost := mustJoin(t, e, inRoom("8", rtc("8", time.Minute)))
		events := listen(lost, time.Now())

		// The new certificate is enabled and the old one made secondary: both are accepted.
		use(secondCert, testCert, map[string]int{secondCert: 0, testCert: 0})
		mustRenew(t, kept, signed(testCert, "7", 40*time.Second))

		// The old certificate is deleted: its tokens are refused, but the calls that they
		// opened continue.
		use(secondCert, "", map[string]int{secondCert: 0, testCert: CodeInvalidToken})
		for _, call := range []*Call{kept, lost} {
			if err := call.Renew(rtc("7", time.Hour).token()); codeOf(t, err) != CodeInvalidToken || !call.InCall() {
				t.Errorf("signed with the old certificate: %v, in call: %v", err, call.InCall())
			}
		}
		mustRenew(t, kept, signed(secondCert, "7", time.Hour))

		// Without a renewal the call ends, and the old tokens do not bring it back.
		pass(time.Minute)
		want := []timed{{30 * time.Second, WillExpire}, {time.Minute, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if _, err := e.Join(inRoom("8", rtc("8", time.Hour))); codeOf(t, err) != CodeInvalidToken {
			t.Errorf("back with a token of the old certificate: %v", err)
		}
		mustJoin(t, e, inRoom("8", signed(secondCert, "8", time.Minute)))
		if !kept.InCall() {
			t.Error("a call that was renewed under the new certificate was lost")
		}
	})
}

func TestWrongCertificatesChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		defer e.Close()
		for _, wrong := range [][2]string{{"", ""}, {"", secondCert}, {"short", ""}, {secondCert, "short"}, {testCert + "0", ""}} {
			if err := e.SetCertificates(wrong[0], wrong[1]); err == nil {
				t.Errorf("%q were taken", wrong)
			}
		}
		mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
	})
}
