package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect returns the client's end of a connection that the simulated edge serves. The function `end` closes the
// client's end, and waits until the edge has closed its own.
func connect(t *testing.T, e *Edge) (nc net.Conn, end func()) {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		e.ServeConn(context.Background(), near)
	}()
	return far, func() {
		far.Close()
		<-served
	}
}

// These tokens expire so soon that the edge warns the client at once, but the answer to the request must come first.
func TestAnswerBeforeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, end := connect(t, newEdge(t))
		defer end()
		reader := bufio.NewReader(nc)
		const event = `{"event":"token-privilege-will-expire","leg":"rtc"}`
		for id, op := range []string{opJoin, opRenew, opRenew} {
			request := encode(request{Op: op, Leg: RTC, Channel: "room", User: "7", Token: rtc("7", 10*time.Second).token(), ID: int64(id) + 1})
			if _, err := nc.Write(request); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{fmt.Sprintf(`{"id":%d,"ok":true,"publish":true}`, id+1), event} {
				if got, err := reader.ReadString('\n'); err != nil || got != want+"\n" {
					t.Errorf("got %s, %v; want %s", got, err, want)
				}
			}
		}
	})
}

func TestBadLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, c := range []struct{ line, want string }{
		{``, `{"id":0,"ok":false,"code":2,"error":"INVALID_PARAMS: the line is not a whole JSON object"}`},
		{`[1]`, `{"id":0,"ok":false,"code":2,"error":"INVALID_PARAMS: the line is not understood: `},
		{`null`, `{"id":0,"ok":false,"code":2,"error":"INVALID_PARAMS: id is missing or below 1"}`},
		{`{"id":4,"op":"leave","leg":"rtc"} {}`, `{"id":0,"ok":false,"code":2,"error":"INVALID_PARAMS: the line holds more than one JSON object"}`},
		{`{"op":"jump","leg":"rtc","id":4}`, `{"id":4,"ok":false,"code":2,"error":"INVALID_PARAMS: op \"jump\" is none of join, renew, leave"}`},
		{`{"op":"join","leg":"fpa","id":4}`, `{"id":4,"ok":false,"code":2,"error":"INVALID_PARAMS: leg \"fpa\" is none of rtc, rtm, chat"}`},
		{`{"id":4,"op":"join","leg":"rtc","chanel":"room"}`, `{"id":4,"ok":false,"code":2,"error":"INVALID_PARAMS: the line is not understood: json: unknown field \"chanel\""}`},
		{`{"id":4,"` + long[:7000] + `":1}`, `{"id":4,"ok":false,"code":2,"error":"INVALID_PARAMS: the line is not understood: json: unknown field \"xxx`},
		{`{"id":4,"op":"join","leg":"rtc","channel":"` + long + `"}`, `{"id":0,"ok":false,"code":2,"error":"INVALID_PARAMS: the line is longer than 8192 bytes"}`},
		{`{"id":4,"op":"renew","leg":"rtc","token":"007"}`, `{"id":4,"ok":false,"code":113,"error":"INVALID_OPERATION: not in a call on rtc"}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			nc, end := connect(t, newEdge(t))
			defer end()
			reader := bufio.NewReader(nc)
			// The next line is valid, and is answered: the connection goes on.
			for _, exchange := range []struct{ line, want string }{c, {`{"id":5,"op":"leave","leg":"chat"}`, `{"id":5,`}} {
				go fmt.Fprintln(nc, exchange.line)
				got, err := reader.ReadString('\n')
				if err != nil || !strings.HasPrefix(got, exchange.want) || len(got) > MaxLine {
					t.Errorf("%.60q: got %s, %v; want %s", exchange.line, got, err, exchange.want)
				}
			}
		})
	}
}

// A line that the end of the connection cuts short is not executed.
func TestCutLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		nc, end := connect(t, e)
		fmt.Fprintf(nc, `{"op":"join","leg":"rtc","channel":"room","user":"7","id":1,"token":%q}`, rtc("7", time.Hour).token())
		end()
		if record := e.Record(); len(record.Calls) != 0 {
			t.Errorf("record: %+v", record)
		}
	})
}

// A client that reads nothing loses its connection, and delays no other client.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		nc, end := connect(t, e)
		defer end()
		other := mustJoin(t, e, inRoom("8", rtc("8", time.Hour)))
		fmt.Fprintf(nc, `{"op":"join","leg":"rtc","channel":"room","user":"7","id":1,"token":%q}`+"\n", rtc("7", time.Hour).token())
		pass(writeTimeout + time.Second)
		if _, err := io.WriteString(nc, "{}\n"); err == nil {
			t.Error("the connection is still open")
		}
		if !other.InCall() {
			t.Error("the other's call is over")
		}
		if total := e.Record().Total; total.Breaks != 1 {
			t.Errorf("record: %+v", total)
		}
		e.Close()
	})
}

// A client that sends requests without reading the answers is disconnected before the time-out for reading.
func TestEagerClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		nc, end := connect(t, newEdge(t))
		defer end()
		var sent int
		for sent < 2*maxUnsent {
			if _, err := io.WriteString(nc, "{}\n"); err != nil {
				break
			}
			sent++
		}
		if sent < maxUnsent || sent > maxUnsent+2 || time.Since(start) > 0 {
			t.Errorf("cut off after %d lines and %s", sent, time.Since(start))
		}
	})
}

// TestServe is the one test with real sockets: two clients over TCP, then the server's end.
func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, listener) }()
	for _, user := range []string{"7", "8"} {
		client, err := Dial(t.Context(), listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if publish, err := client.Join(t.Context(), inRoom(user, rtc(user, 20*time.Second))); err != nil || !publish {
			t.Fatal(publish, err)
		}
		if got := <-client.Events(); got != (Event{Name: WillExpire, Leg: RTC}) {
			t.Errorf("event %v", got)
		}
		if publish, err := client.Renew(t.Context(), RTC, rtc(user, time.Hour).token()); err != nil || !publish {
			t.Error(publish, err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if total := e.Record().Total; total.Breaks != 2 || total.RenewalsAccepted != 2 {
		t.Errorf("record %+v", total)
	}
	if err := newEdge(t).Serve(t.Context(), listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// crowded is a listener that first has no file descriptors left, and then fails.
type crowded struct {
	net.Listener
	refusals int
}

func (c *crowded) Accept() (net.Conn, error) {
	if c.refusals == 0 {
		return nil, io.EOF
	}
	c.refusals--
	return nil, syscall.EMFILE
}

func (c *crowded) Close() error { return nil }

func TestServeOutOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := newEdge(t).Serve(t.Context(), &crowded{refusals: 3}); !errors.Is(err, io.EOF) || time.Since(start) != 3*acceptPause {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), acceptPause/2)
		defer cancel()
		if err := newEdge(t).Serve(ctx, &crowded{refusals: 1}); err != nil {
			t.Errorf("got %v", err)
		}
	})
}
