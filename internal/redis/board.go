package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// giveBatch is how many orders one script call puts on the board.
	giveBatch = 128
	// givePipeline is how many such calls are on their way at once.
	givePipeline = 8
	// forgetBatch is how many whose time is over it removes: more than it adds.
	forgetBatch = 256
)

// Give puts orders on the board, or lifts them. See store.Board.
func (s *Store) Give(ctx context.Context, orders ...store.Order) (err error) {
	defer s.metrics.observe("board", time.Now(), &err)
	k := &s.keys.board
	var calls []call
	for part := range slices.Chunk(orders, giveBatch) {
		c := call{
			keys: []string{k.all, k.until, k.meta},
			args: []any{store.Format, s.clock(), k.channel, store.MaxOrders, forgetBatch},
		}
		for i := range part {
			o := &part[i]
			text, err := json.Marshal(o)
			if err != nil {
				return fmt.Errorf("give: order %s: %w", o.ID, err)
			}
			lifted := 0
			if o.Lifted {
				lifted = 1
			}
			c.keys = append(c.keys, k.reports+o.ID)
			c.args = append(c.args, o.ID, int64(o.Until), lifted, text)
		}
		calls = append(calls, c)
	}
	for some := range slices.Chunk(calls, givePipeline) {
		if err := s.run(ctx, giveScript, some); err != nil {
			return fmt.Errorf("give: %w", err)
		}
	}
	for _, c := range calls {
		if refused, err := c.result.Int(); err != nil || refused > 0 {
			return fmt.Errorf("give: %w", cmp.Or(err, store.ErrBoardFull))
		}
	}
	return nil
}

// Orders are those on the board, if its version is not the known one. See
// store.Board.
func (s *Store) Orders(ctx context.Context, known string) (orders []store.Order, version string, err error) {
	defer s.metrics.observe("board", time.Now(), &err)
	k := &s.keys.board
	reply, err := s.one(ctx, versionScript, []string{k.all, k.meta}, s.clock(), rand.Text()).Slice()
	if err == nil && len(reply) < 2 {
		err = fmt.Errorf("unexpected answer %q", reply)
	}
	if err != nil {
		return nil, "", fmt.Errorf("orders: %w", err)
	}
	version = word(reply, 0)
	if version == known {
		return nil, version, nil
	}
	// What has changed in between is there, and the version tells of it next
	// time.
	found, err := s.client.HGetAll(ctx, k.all).Result()
	if err != nil {
		s.lookForMasters(ctx, err)
		return nil, "", fmt.Errorf("orders: %w", err)
	}
	now, _ := reply[1].(int64) // Unix seconds
	for id, text := range found {
		o, ok := s.order(id, text)
		if ok && o.Until > session.UnixSec(now) {
			orders = append(orders, o)
		}
	}
	return orders, version, nil
}

// order reads one. It is false for those of a newer release, which may look like
// anything but for their format, and for what is none.
func (s *Store) order(id, text string) (o store.Order, ok bool) {
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		return o, o.Format <= store.Format
	}
	var newer struct {
		Format int `json:"format"`
	}
	if json.Unmarshal([]byte(text), &newer) != nil || newer.Format <= store.Format {
		s.logger.Error("an order on the board cannot be read", "order", id, "error", err)
	}
	return o, false
}

// Report puts down what a node has done about an order. See store.Board.
func (s *Store) Report(ctx context.Context, order string, r store.Report) (err error) {
	defer s.metrics.observe("board", time.Now(), &err)
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	k := &s.keys.board
	if err := s.one(ctx, reportScript, []string{k.all, k.reports + order}, s.clock(), order, r.Node, text).Err(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Reports are those on one order, and the nodes that are alive. See store.Board.
func (s *Store) Reports(ctx context.Context, order string) (reports []store.Report, alive []string, err error) {
	defer s.metrics.observe("board", time.Now(), &err)
	k := &s.keys.board
	texts, err := s.one(ctx, reportScript, []string{k.all, k.reports + order}, s.clock(), order).StringSlice()
	if err != nil {
		return nil, nil, fmt.Errorf("reports: %w", err)
	}
	leases, err := s.lease(ctx, "", 0)
	if err != nil {
		return nil, nil, fmt.Errorf("reports: %w", err)
	}
	alive = leases.live()
	slices.Sort(alive)
	for _, text := range texts {
		var r store.Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			s.logger.Error("a report on an order cannot be read", "order", order, "error", err)
			continue
		}
		reports = append(reports, r)
	}
	slices.SortFunc(reports, func(a, b store.Report) int { return cmp.Compare(a.Node, b.Node) })
	return reports, alive, nil
}
