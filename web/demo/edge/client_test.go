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

// TestClientLegs has one client hold all three legs, each with its own token.
func TestClientLegs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		nc, end := connect(t, e)
		client := NewClient(nc)
		join := func(request JoinRequest) {
			if _, err := client.Join(t.Context(), request); err != nil {
				t.Error(err)
			}
		}
		join(inRoom("7", rtc("7", 100*time.Second)))
		join(JoinRequest{RTM, "", "ann", login(2, "ann", 200*time.Second).token()})
		join(JoinRequest{Chat, "", "ann", login(5, "ann", 300*time.Second).token()})
		if _, err := client.Join(t.Context(), inRoom("7", rtc("7", time.Hour))); codeOf(t, err) != CodeAlreadyJoined {
			t.Errorf("joined twice: %v", err)
		}
		type heard struct {
			After time.Duration
			Leg   Leg
			Name  string
		}
		var got []heard
		for range 6 {
			event := <-client.Events()
			got = append(got, heard{time.Since(start), event.Leg, event.Name})
		}
		const s = time.Second
		want := []heard{
			{70 * s, RTC, WillExpire},
			{100 * s, RTC, DidExpire},
			{170 * s, RTM, WillExpire},
			{200 * s, RTM, DidExpire},
			{270 * s, Chat, WillExpire},
			{300 * s, Chat, DidExpire},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if err := client.Leave(t.Context(), RTM); err != nil { // leaving ends the dropped call's loss
			t.Error(err)
		}
		join(inRoom("7", rtc("7", time.Hour))) // leaving ends this call's loss, too
		pass(10 * s)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		end()
		pass(10 * s)
		var lost []float64
		for _, call := range e.Record().Calls {
			lost = append(lost, call.LostSeconds)
		}
		if diff := cmp.Diff([]float64{10, 200, 100}, lost); diff != "" { // sorted: chat, rtc, rtm
			t.Errorf("lost, -want +got:\n%s", diff)
		}
	})
}

// TestClientReconnects joins a dropped call again on a new connection.
func TestClientReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		nc, end := connect(t, e)
		client := NewClient(nc)
		if _, err := client.Join(t.Context(), inRoom("7", rtc("7", 10*time.Second))); err != nil {
			t.Fatal(err)
		}
		pass(13 * time.Second)
		client.Close()
		end()
		pass(4 * time.Second)
		nc, end = connect(t, e)
		client = NewClient(nc)
		if _, err := client.Join(t.Context(), inRoom("7", rtc("7", time.Hour))); err != nil {
			t.Fatal(err)
		}
		client.Close()
		end()
		if total := e.Record().Total; total.LostSeconds != 7 || total.Breaks != 2 {
			t.Errorf("record: %+v", total)
		}
	})
}

// TestOtherChannelAfterDrop joins another channel after a drop, which ends the loss in the
// first channel.
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
			_, _ = io.Copy(io.Discard, near) // an edge that never answers
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := client.Leave(ctx, RTC); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
		if _, err := client.Renew(t.Context(), RTC, strings.Repeat("x", MaxLine)); codeOf(t, err) != CodeInvalidParams {
			t.Errorf("long line: %v", err)
		}
		fmt.Fprintln(near, `{"id":99,"ok":true}`) // an answer to a request that was never sent
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

// TestMailboxKeepsTheLast checks that a full mailbox drops the oldest events.
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
