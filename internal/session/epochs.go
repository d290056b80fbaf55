package session

// epochs number the session's attachments. The newest resume key carries the newest epoch,
// which is the fencing token of the session's records.
type epochs struct {
	epoch uint64 // the newest known
	// proven is the newest epoch whose resume key the client is known to have. Older keys are
	// refused. A newer key may have been lost on its way to the client.
	proven        uint64
	attachedEpoch uint64 // of the newest attachment here; lower than epoch after Fence
	attachedSeq   uint64 // the seq of the first bundle of that attachment
}

// Epoch returns the newest epoch known: that of the newest attachment, or the one given to
// Fence.
func (e *epochs) Epoch() uint64 { return e.epoch }

// Attachment returns the epoch of the newest attachment on this node.
func (e *epochs) AttachedEpoch() uint64 { return e.attachedEpoch }

// Fence raises the epoch to at least this one, so that other nodes do not refuse the
// session's records as outdated. The attachment and its key stay valid.
func (e *epochs) Fence(epoch uint64) { e.epoch = max(e.epoch, epoch) }
