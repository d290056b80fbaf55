package cluster

import (
	"context"
	"errors"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
)

// countingStore is a store that counts the calls of Acquire.
type countingStore struct {
	Store

	times int
}

func (a *countingStore) Acquire(context.Context, store.AcquireRequest) (store.Acquired, error) {
	a.times++
	return store.Acquired{}, nil
}

// No session is acquired for a client that has disconnected, even if a slot is free.
func TestNothingIsAcquiredForAClientThatHasGone(t *testing.T) {
	s := &countingStore{}
	c, _ := testCluster(s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 { // the test repeats this, since select chooses at random among the cases that are ready
		if _, err := c.Acquire(ctx, &session.ResumeClaims{Session: "a", Epoch: 1}, true); !errors.Is(err, context.Canceled) {
			t.Errorf("acquired: %v", err)
		}
	}
	if s.times != 0 || len(c.slots) != 0 {
		t.Errorf("the store was asked %d times; %d slots are taken", s.times, len(c.slots))
	}
}
