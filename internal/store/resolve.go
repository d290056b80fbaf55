package store

import "refresher/internal/session"

// Action is what the writer of a record must do after a Save.
type Action uint8

const (
	// Retry: the store could not be reached, or did not answer.
	Retry Action = iota
	// Done: the store has the record now, or a newer one of the same owner.
	Done
	// CloseSuperseded: the client has resumed on another node, with the newest resume key that
	// this node knows or with a newer one. Close this node's connection as superseded, and
	// drop the session.
	CloseSuperseded
	// Release: another node owns the session, and the client of this node's connection may
	// not know that node. Close the connection so that the client resumes, and drop the
	// session.
	Release
	// RaiseEpoch: the answer to an Acquire of this node was lost, so the store has a higher
	// epoch than the node knows. Save again under Outcome.Epoch.
	RaiseEpoch
	// EndSession: the session was ended on purpose. Drop it, and send Outcome.Ending to its
	// client.
	EndSession
	// FinishEnd: an operator ended the session in the store. End it on this node, with the
	// reason of Outcome.Ending, and save the ended session.
	FinishEnd
	// LeaveAlone: the stored record cannot be read, see ErrUnreadable. Continue without the
	// store.
	LeaveAlone
)

// Outcome is a store's answer to the Save of one record.
type Outcome struct {
	Action Action
	Ending session.Ending // set for EndSession and FinishEnd
	Epoch  uint64         // set for RaiseEpoch
	// Wish is set if Action is Done and the stored register is newer than the record's: it
	// holds an operator's change (a wish), which the writer must apply. It is zero
	// otherwise.
	Wish Register
}

// Writer receives the outcome of a record that it has saved. Acknowledge may take a while,
// since it may have to write to the session's client.
type Writer interface {
	Acknowledge(r *Record, o Outcome)
}

// Resolve decides about a Save of r if the store has the record `old` of the same session. It
// returns what the writer must do, and whether r replaces `old`. If r replaces `old`, the
// store writes r.KeepWish(old); otherwise the store writes the wish of r.unstoredWish(old)
// into `old`. Every store implements this rule.
//
// The record with the higher epoch wins. If two nodes have the same epoch, the record with
// the higher rank wins (see rank). A node that loses by its epoch closes its connection as
// superseded only if the client has presented the loser's resume key, or a later one, to the
// winner. Otherwise the client may not know of the winner, and must reconnect. A session that
// was ended on purpose stays ended.
func Resolve(old, r *Record) (o Outcome, replace bool) {
	own := r.Node == old.Node && r.Epoch == old.Epoch
	switch {
	case own && r.Version < old.Version: // r is an earlier write of the same owner, which arrived late
		return Outcome{Action: Done, Wish: r.newerWish(old)}, false
	case old.endedOnPurpose():
		return old.afterEnd(r, own)
	case r.Epoch > old.Epoch, own, r.Epoch == old.Epoch && r.rank() > old.rank():
		return Outcome{Action: Done, Wish: r.newerWish(old)}, true
	case r.Node == old.Node:
		return Outcome{Action: RaiseEpoch, Epoch: old.Epoch}, false
	case old.State == session.Attached && old.Epoch > r.Epoch && old.Proven >= r.Epoch:
		return Outcome{Action: CloseSuperseded}, false
	default:
		return Outcome{Action: Release}, false
	}
}

// afterEnd decides about a Save of the record `next` if the stored record r was ended on purpose.
// Only the owner of r may replace r, and only with the same end. If the session is still open on
// the owner, or has ended there for another reason, the owner must end it as stored, and save that
// (FinishEnd).
func (r *Record) afterEnd(next *Record, own bool) (o Outcome, replace bool) {
	switch {
	case own && next.endedOnPurpose() && next.Reason == r.Reason:
		return Outcome{Action: Done}, true
	case own && !r.IsTombstone() && (next.endedOnPurpose() || !next.HasEnded()):
		return Outcome{Action: FinishEnd, Ending: r.Ending()}, false
	}
	return Outcome{Action: EndSession, Ending: r.Ending()}, false
}

// rank orders records of different nodes with the same epoch. An end on purpose ranks highest, and
// an attached session ranks above a detached one. Of two attached records, the one whose node was
// presented the resume key of this epoch ranks higher, since the client then knows of the
// connection to that node.
func (r *Record) rank() int {
	switch {
	case r.endedOnPurpose():
		return 4
	case r.State == session.Attached && r.Proven == r.Epoch:
		return 3
	case r.State == session.Attached:
		return 2
	case r.State == session.Detached:
		return 1
	default:
		return 0
	}
}

// Refusal returns a *session.EndedError if a resume key of this epoch must be refused, or
// nil.
func Refusal(old *Record, epoch uint64) error {
	switch {
	case old.endedOnPurpose():
		return &session.EndedError{Ending: old.Ending()}
	case epoch < old.Proven:
		return &session.EndedError{Ending: session.Ending{Reason: session.EndSuperseded, AccessEndsAt: old.ExpiresAt}}
	}
	return nil
}
