package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// partBatch is the maximum number of records that one script call writes without their grant, and
// wholeBatch the maximum number that one call writes with their grant. A call occupies Redis for
// well under a millisecond.
const (
	partBatch  = 64
	wholeBatch = 32
)

// Save writes each record independently, and returns what the writer of each must do. If Save
// returns an error, some outcomes are store.Retry.
//
// A record is written with the session's grant (its user, and the terms of its credential) if it is
// the session's first record, if the session has ended, or if its terms have changed. Other records
// are written without the grant, which stays the same even when the session moves to another node.
func (s *Store) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	var parts, whole shardIndices
	for i := range records {
		if r := &records[i]; r.Epoch <= 1 && r.Version <= 1 || r.HasEnded() || r.TermsChanged {
			whole.add(r.Session, i)
		} else {
			parts.add(r.Session, i)
		}
	}
	missing, err := s.save(ctx, records, outcomes, &parts, &whole)
	if missing != nil { // these sessions have no hash, so their records are written again with the grant
		_, again := s.save(ctx, records, outcomes, &shardIndices{}, missing)
		err = errors.Join(err, again)
	}
	return outcomes, err
}

// shardIndices holds indices of records by the shard of their session.
type shardIndices [store.Shards][]int

func (x *shardIndices) add(id string, i int) {
	shard := store.ShardOf(id)
	x[shard] = append(x[shard], i)
}

// save writes the records whose indices are in `parts` without the session's grant, and the records
// whose indices are in `whole` with it. If a session of `parts` has no hash, its record must be
// written with the grant: save returns the indices of these records as `missing`.
func (s *Store) save(
	ctx context.Context, records []store.Record, outcomes []store.Outcome, parts, whole *shardIndices,
) (missing *shardIndices, err error) {
	defer s.metrics.observe("save", time.Now(), &err)
	var calls []call
	for shard := range store.Shards {
		for indices := range slices.Chunk(parts[shard], partBatch) {
			calls = append(calls, s.saveCall(shard, records, indices, false))
		}
		for indices := range slices.Chunk(whole[shard], wholeBatch) {
			calls = append(calls, s.saveCall(shard, records, indices, true))
		}
	}
	err = s.run(ctx, saveScript, calls)
	for _, c := range calls {
		words, _ := c.result.Val().([]any)
		for at, i := range c.indices {
			answer := word(words, at) // empty if there was no answer; then err says why
			if words == nil {
				answer, _ = c.result.Val().(string) // the script gave one answer for all records
			}
			if answer == "missing" {
				if missing == nil {
					missing = new(shardIndices)
				}
				missing.add(records[i].Session, i)
				continue
			}
			outcomes[i] = s.outcome(records[i].Session, answer)
		}
	}
	return missing, err
}

func (s *Store) saveCall(shard int, records []store.Record, indices []int, whole bool) call {
	c := call{indices: indices, keys: make([]string, 1, len(indices)+1), args: make([]any, 4, 4+len(indices)*3)}
	c.keys[0] = s.keys.due[shard]
	c.args[0], c.args[1], c.args[2], c.args[3] = s.keys.channel, s.time().Unix(), len(s.keys.sessions[shard])+1, 0
	if whole {
		c.args[3] = 1
	}
	for _, i := range indices {
		r := &records[i]
		c.keys = append(c.keys, s.keys.session(shard, r.Session))
		at := int64(r.Due)
		if r.IsTombstone() {
			at = int64(r.TombstoneUntil())
		}
		c.args = append(c.args, packFence(r), packState(r), at)
		if whole {
			fields := grant(r)
			c.args = append(append(c.args, len(fields)), fields...)
		}
	}
	return c
}

// saveActions maps the save script's answers to what the writer must do.
var saveActions = map[string]store.Action{
	"done": store.Done, "wish": store.Done, "raise": store.RaiseEpoch, "close": store.CloseSuperseded,
	"release": store.Release, "end": store.EndSession, "finish": store.FinishEnd, "unreadable": store.LeaveAlone,
}

// outcome reads the save script's answer about a session.
func (s *Store) outcome(id, answer string) store.Outcome {
	word, rest, _ := strings.Cut(answer, " ")
	o := store.Outcome{Action: saveActions[word]}
	var err error
	switch word {
	case "wish":
		role, version, _ := strings.Cut(rest, " ")
		var n int64
		n, err = strconv.ParseInt(version, 10, 64)
		o.Wish.Version = session.UnixMilli(n)
		if strings.EqualFold(role, roleLetter(session.Publisher)) {
			o.Wish.Role = session.Publisher
		}
	case "raise":
		o.Epoch, err = strconv.ParseUint(rest, 10, 64)
	case "end", "finish":
		var r store.Record
		err = unpackState(rest, &r)
		o.Ending = r.Ending()
	case "unreadable":
		err = errNoRecord
	}
	if err != nil {
		_ = s.unreadable(id, err)
		return store.Outcome{Action: store.LeaveAlone}
	}
	return o
}
