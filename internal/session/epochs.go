package session

// epochs numbers the session's attachments. Each attachment gets an epoch that is one higher than
// the epoch of the previous attachment. The client's resume key contains the epoch. The epoch is
// the fencing token of the session's records: if two nodes write a record, the one with the higher
// epoch wins.
type epochs struct {
	// epoch is the highest epoch known.
	epoch uint64
	// proven is the highest epoch whose resume key the client has presented. Keys of lower epochs are
	// refused. The key of this epoch is accepted even if a higher epoch was assigned, since the newer
	// key may not have reached the client.
	proven uint64
	// attachedEpoch is the epoch of the newest attachment on this node. It is lower than the field
	// epoch if Fence has raised that field. attachedSeq is the seq of the first bundle of that
	// attachment.
	attachedEpoch uint64
	attachedSeq   uint64
}

// Epoch returns the highest epoch known, from the newest attachment or from Fence.
func (e *epochs) Epoch() uint64 { return e.epoch }

// AttachedEpoch returns the epoch of the newest attachment on this node.
func (e *epochs) AttachedEpoch() uint64 { return e.attachedEpoch }

// Fence raises the epoch to at least the given one, so that the store does not refuse the session's
// records as outdated. The connection and its resume key stay valid.
func (e *epochs) Fence(epoch uint64) { e.epoch = max(e.epoch, epoch) }
