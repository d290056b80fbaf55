package apptest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/client"
	"refresher/internal/app"
	"refresher/web/demo/edge"
)

// World has a service, clients in calls, and a fake of Agora's edge, which checks the calls' tokens as Agora would. It
// lives in a synctest bubble.
type World struct {
	T       *testing.T
	Network *Network
	Edge    *edge.Edge
	Calls   sync.WaitGroup
	Ctx     context.Context
	End     context.CancelFunc

	Renewals atomic.Int64
}

// NewWorld makes a network and the fake of Agora's edge.
func NewWorld(t *testing.T) *World {
	t.Helper()
	judge, err := edge.New(edge.Config{AppID: AppID, Certificate: Certificate})
	if err != nil {
		t.Fatal(err)
	}
	w := &World{T: t, Network: NewNetwork(), Edge: judge}
	w.Ctx, w.End = context.WithCancel(context.Background())
	t.Cleanup(judge.Close)
	return w
}

// ServiceAddress is the address of a single node. BalancerAddress is the address of the load balancer in front of
// several nodes.
const (
	ServiceAddress  = "127.0.0.1:8080"
	BalancerAddress = "127.0.0.1:80"
)

// StartNode starts a service at ServiceAddress.
func (w *World) StartNode() *Node { return w.StartNodeWith(func(*app.Config) {}) }

// StartNodeWith starts a service at ServiceAddress with changed settings.
func (w *World) StartNodeWith(change func(*app.Config)) *Node {
	return start(w.T, func(c *app.Config) {
		c.Listen = ServiceAddress
		c.DrainWindow = 5 * time.Second
		change(c)
	}, app.Outside{Listen: w.Network.Listen})
}

// Call runs a client that keeps a call at Agora's edge alive with the service's tokens, like an app
// with Agora's SDK.
func (w *World) Call(uid uint32, ttl int64) { w.CallAt(ServiceAddress, uid, ttl) }

// CallAt does the same as Call, for a service at the given address.
func (w *World) CallAt(address string, uid uint32, ttl int64) {
	user := strconv.Itoa(int(uid))
	transport := &http.Transport{DialContext: w.Network.Dial, DisableKeepAlives: true}
	var legs struct{ rtc, rtm *edge.Call }
	join := func(b client.Tokens) error {
		var err error
		if legs.rtc, err = w.Edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: user, Token: b.RTC}); err != nil {
			return err
		}
		legs.rtm, err = w.Edge.Join(edge.JoinRequest{Leg: edge.RTM, User: user, Token: b.RTM})
		return err
	}
	c := client.New(client.Config{
		URL:        "ws://" + address + "/v1/ws",
		HTTPClient: &http.Client{Transport: transport},
		RTC:        &client.RTC{Channel: "c", UID: uid, Publisher: true}, RTM: user, TTL: time.Duration(ttl) * time.Second,
		Apply: func(_ context.Context, b client.Tokens) error {
			if b.Action != client.Renew {
				return join(b)
			}
			w.Renewals.Add(1)
			return errors.Join(legs.rtc.Renew(b.RTC), legs.rtm.Renew(b.RTM))
		},
	})
	w.Calls.Go(func() {
		defer transport.CloseIdleConnections()
		if err := c.Run(w.Ctx); !errors.Is(err, context.Canceled) {
			w.T.Errorf("call %d ended: %v", uid, err)
		}
	})
}

// Verdict ends the calls, and checks that every user was in their call without interruption.
func (w *World) Verdict(calls int) edge.Record {
	w.T.Helper()
	synctest.Wait()
	record := w.Edge.Record()
	w.End()
	w.Calls.Wait()
	if len(record.Calls) != 2*calls {
		w.T.Errorf("the judge saw %d legs of %d calls", len(record.Calls), calls)
	}
	for _, c := range record.Calls {
		if c.LostSeconds != 0 || c.Drops != 0 || c.RenewalsRefused != 0 || c.Joins != 1 {
			w.T.Errorf("call lost: %+v", c)
		}
	}
	return record
}
