package session

// epochs numbers the session's attachments: each gets an epoch, one higher than the last.
// The resume key carries it. The epoch is the fencing token of the session's records: of two
// nodes that write a record, the one with the higher epoch wins.
type epochs struct {
	epoch uint64 // the newest known
	// proven is the newest epoch whose resume key the client is known to have. Older keys are
	// refused. A newer key may have been lost on its way to the client.
	proven        uint64
	attachedEpoch uint64 // of the newest attachment here; lower than epoch after Fence
	attachedSeq   uint64 // the seq of the first bundle of that attachment
}

// Epoch returns the highest epoch known: of the newest attachment, or given to Fence.
func (e *epochs) Epoch() uint64 { return e.epoch }

// Attachment returns the epoch of the newest attachment on this node.
func (e *epochs) AttachedEpoch() uint64 { return e.attachedEpoch }

// Fence raises the epoch to at least this value, so that the store does not refuse the
// session's records as outdated. The attachment and its resume key stay valid.
func (e *epochs) Fence(epoch uint64) { e.epoch = max(e.epoch, epoch) }
