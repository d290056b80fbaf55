package store

import "refresher/internal/session"

// Action is what the writer of a record must do, by the store's answer to Save.
type Action uint8

const (
	// Retry: the store could not be reached, or did not answer.
	Retry Action = iota
	// Done: the store holds the record now, or a newer one of the same owner.
	Done
	// CloseSuperseded: the client connected to another node with this epoch's resume
	// key or a later one. Close the connection here, if any, and drop the session.
	CloseSuperseded
	// Release: another node owns the session, and the client here may not know. Have it
	// reconnect, and drop the session.
	Release
	// RaiseEpoch: the answer to an Acquire of this node was lost. Go on, and save again,
	// under Outcome.Epoch.
	RaiseEpoch
	// EndSession: the session was ended on purpose. Drop it, and tell its client of
	// Outcome.Ending.
	EndSession
	// FinishEnd: an operator ended the session in the store. End it here as asked, with
	// the reason of Outcome.Ending, and save that.
	FinishEnd
	// LeaveAlone: the store holds a record that cannot be read, see ErrUnreadable. Go on
	// without the store.
	LeaveAlone
)

// Outcome is a store's answer to the Save of one record.
type Outcome struct {
	Action Action
	Ending session.Ending // of EndSession and FinishEnd
	Epoch  uint64         // of RaiseEpoch
	// Wish, of Done, is the stored register if it is newer than the record's: an
	// operator's wish, which the writer must act on. It is zero otherwise.
	Wish Register
}

// Writer is who has a record saved, and does what the answer asks for. That may take a
// while: it may have to write to the session's client.
type Writer interface {
	Acknowledge(r *Record, o Outcome)
}

// Resolve answers a Save of r where the store holds old of the same session: what the
// writer must do, and whether the store is to replace old by r.KeepWish(old); if it is not,
// it writes r.unstoredWish(old) into old. Every store answers by this rule.
//
// The higher epoch wins. If two nodes have the same epoch, the record with the higher
// rank wins (see rank). A node that loses with the lower epoch closes its connection as
// superseded only if the client presented the loser's resume key, or a later one, to the
// winner: else the client may not know of the winner, and has to reconnect. A session
// that was ended on purpose stays ended.
func Resolve(old, r *Record) (o Outcome, replace bool) {
	own := r.Node == old.Node && r.Epoch == old.Epoch
	switch {
	case own && r.Version < old.Version: // an earlier write, which arrived late
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

// afterEnd is Resolve for a stored record r that was ended on purpose. Only its owner may
// replace it, to finish that end. If the owner's session is still open, or has ended for
// another reason, the owner must finish the stored end.
func (r *Record) afterEnd(next *Record, own bool) (o Outcome, replace bool) {
	switch {
	case own && next.endedOnPurpose() && next.Reason == r.Reason:
		return Outcome{Action: Done}, true
	case own && !r.IsTombstone() && (next.endedOnPurpose() || !next.HasEnded()):
		return Outcome{Action: FinishEnd, Ending: r.Ending()}, false
	}
	return Outcome{Action: EndSession, Ending: r.Ending()}, false
}

// rank orders records of different nodes with the same epoch. An end on purpose ranks
// highest, and an attached session above a detached one. Of two attached ones, the higher
// is the one whose client has presented the resume key of this epoch, since it surely
// knows of this connection.
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

// Refusal returns why a resume key of this epoch does not open the session any more: a
// *session.EndedError, or nil.
func Refusal(old *Record, epoch uint64) error {
	switch {
	case old.endedOnPurpose():
		return &session.EndedError{Ending: old.Ending()}
	case epoch < old.Proven:
		return &session.EndedError{Ending: session.Ending{Reason: session.EndSuperseded, AccessEndsAt: old.ExpiresAt}}
	}
	return nil
}
