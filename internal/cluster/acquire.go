package cluster

import (
	"context"
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// acquireTimeout bounds one request to the store. If the store does not answer in time,
	// the session continues with the data in its resume key.
	acquireTimeout = 400 * time.Millisecond
	// acquiresAtOnce is the maximum number of concurrent requests to the store. Without this limit,
	// requests would time out in a reconnect storm. acquireQueue is how long a client waits until
	// its request can be sent. After that the session continues with the data in its resume key.
	acquireQueue   = time.Second
	acquiresAtOnce = 24
	// acquireCooldown is the pause after a request that the store did not answer. During the
	// pause Acquire sends no requests.
	acquireCooldown = time.Second
)

// Acquire makes this node the owner of a session whose resume key a client presented. If the
// store is down, or did not answer a request within the last acquireCooldown, Acquire falls
// back to the epoch in the resume key. The error is an EndedError, or the error of ctx. Once
// the request is sent, Acquire waits for the answer even if ctx ends, since the node must
// know whether it owns the session.
func (c *Cluster) Acquire(ctx context.Context, k *session.ResumeClaims, attach bool) (store.Acquired, error) {
	byKey := store.Acquired{Epoch: k.Epoch + 1}
	if !c.pending.shardUp(k.Session) {
		return byKey, nil
	}
	wait, giveUp := context.WithTimeout(ctx, acquireQueue)
	defer giveUp()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-wait.Done():
		return byKey, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // ctx is checked again, since select chooses at random if both cases are ready
		return byKey, err
	}
	before := c.cooldown.Load()
	if time.Duration(before) > c.now() {
		return byKey, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout)
	defer cancel()
	held, err := c.config.Store.Acquire(ctx, store.AcquireRequest{Session: k.Session, Epoch: k.Epoch, Node: c.config.Node, Attach: attach})
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		return held, ended
	}
	if errors.Is(err, store.ErrUnreadable) { // the store has already logged the unreadable record
		return byKey, nil
	}
	if err != nil {
		// Of many concurrent failures, only the one whose CompareAndSwap succeeds is logged.
		if c.cooldown.CompareAndSwap(before, int64(c.now()+acquireCooldown)) {
			c.config.Logger.Warn("Redis does not answer; sessions are restored from their resume keys", "error", err)
		}
		return byKey, nil
	}
	if held.Known && !held.Record.Fits(k) { // the record names another project, subject or user than the resume key
		c.config.Logger.Error("a session's record contradicts its resume key; the node uses the key", "session", k.Session)
		return store.Acquired{Epoch: held.Epoch}, nil
	}
	return held, nil
}

// Get returns a session's record. It returns false if the store has no record that matches the key,
// or does not answer within acquireTimeout.
func (c *Cluster) Get(ctx context.Context, k *session.ResumeClaims) (store.Record, bool) {
	if !c.pending.shardUp(k.Session) {
		return store.Record{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	r, known, err := c.config.Records.Get(ctx, k.Session)
	return r, err == nil && known && r.Fits(k)
}
