package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"refresher/client"
)

// edgeLink holds a call at a stand-in for Agora's edge, in JSON lines over TCP;
// the protocol is described in the documentation of web/demo/edge. Calls to join
// and renew come one at a time.
type edgeLink struct {
	conn    net.Conn
	answers chan edgeLine
	reader  sync.WaitGroup
	id      int64
}

// edgeLine is one line, either way.
type edgeLine struct {
	Op      string `json:"op,omitempty"`
	Leg     string `json:"leg,omitempty"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user,omitempty"`
	Token   string `json:"token,omitempty"`
	ID      int64  `json:"id,omitempty"`

	OK    bool   `json:"ok,omitempty"`
	Code  int    `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
	Event string `json:"event,omitempty"`
}

// dialEdge connects, and shows on call what the edge reports by itself.
func dialEdge(ctx context.Context, address string, call *call) (*edgeLink, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--edge: %w", err)
	}
	e := &edgeLink{conn: conn, answers: make(chan edgeLine, 1)}
	e.reader.Go(func() {
		defer close(e.answers)
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			var l edgeLine
			if json.Unmarshal(lines.Bytes(), &l) != nil {
				return // not an edge
			}
			if l.Event == "" {
				e.answers <- l
				continue
			}
			call.warned(l)
		}
	})
	return e, nil
}

// join takes part in everything that there is a token for. A leg that is still
// there is left first: whoever joins anew does not hold on to the old.
func (e *edgeLink) join(ctx context.Context, c *callCommand, t client.Tokens) error {
	return errors.Join(
		e.ask(ctx, edgeLine{Op: "join", Leg: "rtc", Channel: c.Channel, User: c.user()}, t.RTC),
		e.ask(ctx, edgeLine{Op: "join", Leg: "rtm", User: cmp.Or(c.RTMUser, c.user())}, t.RTM),
		e.ask(ctx, edgeLine{Op: "join", Leg: "chat", User: c.ChatUser}, t.Chat),
	)
}

// renew hands over new tokens for what the call takes part in.
func (e *edgeLink) renew(ctx context.Context, t client.Tokens) error {
	return errors.Join(
		e.ask(ctx, edgeLine{Op: "renew", Leg: "rtc"}, t.RTC),
		e.ask(ctx, edgeLine{Op: "renew", Leg: "rtm"}, t.RTM),
		e.ask(ctx, edgeLine{Op: "renew", Leg: "chat"}, t.Chat),
	)
}

// ask sends one request with its token, if there is one, and waits for the
// answer.
func (e *edgeLink) ask(ctx context.Context, l edgeLine, token string) error {
	if token == "" {
		return nil
	}
	e.id++
	l.ID = e.id
	if l.Op != "leave" {
		l.Token = token
	}
	line, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	if _, err := e.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	select {
	case answer, ok := <-e.answers:
		switch {
		case !ok:
			return errors.New("edge: the connection broke")
		case !answer.OK:
			return fmt.Errorf("edge refused %s of %s with %d: %s", l.Op, l.Leg, answer.Code, answer.Error)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave hangs up, so that what follows is not taken for a loss.
func (e *edgeLink) leave(ctx context.Context, t client.Tokens) error {
	return errors.Join(
		e.ask(ctx, edgeLine{Op: "leave", Leg: "rtc"}, t.RTC),
		e.ask(ctx, edgeLine{Op: "leave", Leg: "rtm"}, t.RTM),
		e.ask(ctx, edgeLine{Op: "leave", Leg: "chat"}, t.Chat),
	)
}

func (e *edgeLink) close() {
	_ = e.conn.Close() // nothing is left to be said
	for range e.answers {
	}
	e.reader.Wait()
}
