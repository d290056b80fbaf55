package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClientLegs has one client in calls on all three legs (RTC, RTM and Chat), each with its own token.
func TestClientLegs(t *testing.T) {
	const s = time.Second
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		nc, end := connect(t, e)
		client := NewClient(nc)
		for _, join := range []JoinRequest{
			inRoom("7", rtc("7", 100*s)), {RTM, "", "ann", login(2, "ann", 200*s).token()}, {Chat, "", "ann", login(5, "ann", 300*s).token()},
		} {
			if _, err := client.Join(t.Context(), join); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Join(t.Context(), inRoom("7", rtc("7", time.Hour))); codeOf(t, err) != CodeAlreadyJoined {
			t.Errorf("joined twice: %v", err)
		}
		for _, want := range []struct {
			after time.Duration
			event Event
		}{
			{70 * s, Event{Name: WillExpire, Leg: RTC}},
			{100 * s, Event{Name: DidExpire, Leg: RTC}},
			{170 * s, Event{Name: WillExpire, Leg: RTM}},
			{200 * s, Event{Name: DidExpire, Leg: RTM}},
			{270 * s, Event{Name: WillExpire, Leg: Chat}},
			{300 * s, Event{Name: DidExpire, Leg: Chat}},
		} {
			if event := <-client.Events(); event != want.event || time.Since(start) != want.after {
				t.Errorf("%v after %s; want %v", event, time.Since(start), want)
			}
		}
		if err := client.Leave(t.Context(), RTM); err != nil { // with Leave, the lost time of the dropped call ends
			t.Error(err)
		}
		pass(10 * s)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		end()
		var lost []float64
		for _, call := range e.Record().Calls {
			lost = append(lost, call.LostSeconds)
		}
		if diff := cmp.Diff([]float64{10, 210, 100}, lost); diff != "" { // in the order chat, rtc, rtm
			t.Errorf("lost, -want +got:\n%s", diff)
		}
	})
}

// After a drop the client joins another channel, so the lost time in the first channel ends.
func TestOtherChannelAfterDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		nc, end := connect(t, e)
		defer end()
		client := NewClient(nc)
		if _, err := client.Join(t.Context(), inRoom("7", rtc("7", 10*time.Second))); err != nil {
			t.Fatal(err)
		}
		pass(12 * time.Second)
		hall := rtc("7", time.Hour)
		hall.parts[0].names[0] = "hall"
		if _, err := client.Join(t.Context(), JoinRequest{RTC, "hall", "7", hall.token()}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if total := e.Record().Total; total.LostSeconds != 2 || total.HeldSeconds != 70 || total.Breaks != 0 {
			t.Errorf("record: %+v", total)
		}
	})
}

func TestClientErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		client := NewClient(far)
		go func() {
			_, _ = io.Copy(io.Discard, near) // the simulated edge reads the requests but never answers
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := client.Leave(ctx, RTC); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
		if _, err := client.Renew(t.Context(), RTC, strings.Repeat("x", MaxLine)); codeOf(t, err) != CodeInvalidParams {
			t.Errorf("long line: %v", err)
		}
		fmt.Fprintln(near, `{"id":99,"ok":true}`) // an answer without a request
		waiting := make(chan error)
		go func() { waiting <- client.Leave(t.Context(), RTC) }()
		synctest.Wait()
		client.Close()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("closed while waiting: %v", err)
		}
		if err := client.Leave(t.Context(), RTC); !errors.Is(err, ErrClosed) {
			t.Errorf("closed before: %v", err)
		}
		if _, open := <-client.Events(); open {
			t.Error("events are still open")
		}
	})
	for _, line := range []string{"x\n", `{"id":0,"ok":false,"error":"INVALID_PARAMS"}` + "\n", strings.Repeat("x", MaxLine+1) + "\n"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			client := NewClient(far)
			go fmt.Fprint(near, line)
			<-client.Gone()
			if err := client.Leave(t.Context(), RTC); err == nil || errors.As(err, new(*Error)) {
				t.Errorf("after %.20q: %v", line, err)
			}
			near.Close()
		})
	}
}

func TestMailboxKeepsTheLast(t *testing.T) {
	box := newMailbox()
	for range mailboxSize {
		box.put(Event{Name: WillExpire})
	}
	box.put(Event{Name: DidExpire})
	box.close()
	var last Event
	var count int
	for last = range box {
		count++
	}
	if count != mailboxSize || last.Name != DidExpire {
		t.Errorf("%d events, the last %v", count, last)
	}
}
