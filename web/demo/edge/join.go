package edge

import "time"

// JoinRequest is a client's request to join a call.
type JoinRequest struct {
	Leg     Leg
	Channel string // 1 to 64 bytes in RTC, empty in RTM and Chat
	User    string // a user account, or a uid in decimal; in RTC, "" and "0" let Agora choose the uid
	Token   string
}

// Join admits a client, or returns an *Error. Like Agora, it ends an existing call of the same user.
func (e *Edge) Join(request JoinRequest) (*Call, error) {
	events := newMailbox()
	call, err := e.join(request, events.put, events.close, nil)
	if err != nil {
		return nil, err
	}
	call.events = events
	return call, nil
}

// join does the work of Join. It calls the function `admitted` before the first event, `notify` for each event, and
// `ended` after the last one, all with e.mu held: they must not block, and must not call the Edge.
func (e *Edge) join(request JoinRequest, notify func(Event), ended func(), admitted func(publish bool)) (*Call, *Error) {
	who, refusal := request.identity()
	if refusal != nil {
		return nil, refusal
	}
	// The token is verified before the lock is taken, so that joins run in parallel.
	granted, refusal := e.keyring().verify(request.Token, who)

	e.mu.Lock()
	defer e.unlock()
	now := time.Now()
	if e.closed {
		return nil, refuse(CodeNotJoined, "the edge is closed")
	}
	if refusal == nil {
		refusal = granted.runOut(now)
	}
	h := e.histories[who]
	if refusal != nil {
		if h == nil {
			// A refused join of an unknown call makes no entry, so that such joins cannot fill the record.
			e.joinsRefused++
		} else {
			h.joinsRefused++
		}
		e.note("join refused", who, "code", refusal.Code, "error", refusal.Text)
		return nil, refusal
	}

	call := &Call{edge: e, who: who, notify: notify, ended: ended, token: request.Token, granted: granted, state: inCall}
	if h == nil {
		h = &history{}
		e.histories[who] = h
	} else {
		h.owner.settle(now)
		h.owner.giveWay(now)
	}
	call.history = h
	h.owner = call
	lost := h.joined(now)
	e.note("joined", who, "ends_at", granted.ends().Unix(), "lost_seconds", lost.Seconds())
	if admitted != nil {
		admitted(call.publishing(now))
	}
	call.arm(now)
	return call, nil
}
