package session

// epochs number the session's attachments. The newest resume key carries the newest epoch,
// which is the fencing token of the session's records.
type epochs struct {
	epoch uint64 // the newest that is known of
	// proven is the newest epoch whose key the client has shown to have: older keys are
	// refused, newer ones may be the client's first word about them.
	proven        uint64
	attachedEpoch uint64 // of the newest attachment; under epoch once that is fenced
	attachedSeq   uint64 // the seq that it began with
}

// Epoch is the newest that is known of: that of the newest attachment, or one
// that it was fenced to.
func (e *epochs) Epoch() uint64 { return e.epoch }

// Attachment is the epoch of the newest attachment made here.
func (e *epochs) Attachment() uint64 { return e.attachedEpoch }

// Fence raises the epoch to at least this one: other nodes refuse what is of an older
// one. The attachment and its key stay good.
func (e *epochs) Fence(epoch uint64) { e.epoch = max(e.epoch, epoch) }
