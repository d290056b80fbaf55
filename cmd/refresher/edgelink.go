package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"refresher/client"
	"refresher/web/demo/edge"
)

// edgeLink is the connection of a call to a stand-in for Agora's edge.
type edgeLink struct {
	client *edge.Client
	events sync.WaitGroup // the goroutine that reads the client's events
}

// dialEdge connects to the stand-in for Agora's edge, and passes its events to the call.
func dialEdge(ctx context.Context, address string, call *call) (*edgeLink, error) {
	c, err := edge.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("--edge: %w", err)
	}
	e := &edgeLink{client: c}
	e.events.Go(func() {
		for event := range c.Events() {
			call.warned(event)
		}
	})
	return e, nil
}

// join sends one join for each Agora service that the tokens are for.
func (e *edgeLink) join(ctx context.Context, c *callCommand, t client.Tokens) error {
	users := map[edge.Leg]string{edge.RTC: c.user(), edge.RTM: cmp.Or(c.RTMUser, c.user()), edge.Chat: c.ChatUser}
	return e.each("join", t, func(leg edge.Leg, token string) error {
		channel := ""
		if leg == edge.RTC {
			channel = c.Channel
		}
		_, err := e.client.Join(ctx, edge.JoinRequest{Leg: leg, Channel: channel, User: users[leg], Token: token})
		return err
	})
}

// renew gives the new tokens to the stand-in for Agora's edge.
func (e *edgeLink) renew(ctx context.Context, t client.Tokens) error {
	return e.each("renewal", t, func(leg edge.Leg, token string) error {
		_, err := e.client.Renew(ctx, leg, token)
		return err
	})
}

// leave ends the call at the stand-in for Agora's edge, which would otherwise count the end of the connection as a
// failure of the network.
func (e *edgeLink) leave(ctx context.Context, t client.Tokens) error {
	return e.each("leave", t, func(leg edge.Leg, _ string) error { return e.client.Leave(ctx, leg) })
}

// each calls the function `do` for each Agora service that has a token in t, and joins the errors.
func (e *edgeLink) each(what string, t client.Tokens, do func(leg edge.Leg, token string) error) (err error) {
	for _, one := range []struct {
		leg   edge.Leg
		token string
	}{{edge.RTC, t.RTC}, {edge.RTM, t.RTM}, {edge.Chat, t.Chat}} {
		if one.token == "" {
			continue
		}
		if failed := do(one.leg, one.token); failed != nil {
			err = errors.Join(err, fmt.Errorf("edge, %s of %s: %w", what, one.leg, failed))
		}
	}
	return err
}

func (e *edgeLink) close() {
	_ = e.client.Close()
	e.events.Wait()
}
