package edge

import "time"

// JoinRequest asks to be admitted.
type JoinRequest struct {
	Leg     Leg
	Channel string // 1 to 64 bytes in RTC, empty in RTM and Chat
	User    string // uid in decimal or user account; "" and "0" in RTC = Agora is to choose
	Token   string
}

// Join admits a client or returns an *Error. A user who is in that call already
// is thrown out for the newcomer, as Agora does.
func (e *Edge) Join(request JoinRequest) (*Call, error) {
	events := newMailbox()
	call, err := e.join(request, events.put, events.close, nil)
	if err != nil {
		return nil, err
	}
	call.events = events
	return call, nil
}

// join does the work of Join. notify is called for every event, ended after the
// last one, and admitted between admission and the first event; all three under
// e.mu, so they must neither block nor call the Edge.
func (e *Edge) join(request JoinRequest, notify func(Event), ended func(), admitted func(publish bool)) (*Call, *Error) {
	who, refusal := request.identity()
	if refusal != nil {
		return nil, refusal
	}
	// The arithmetic is done before the lock is taken: joins run in parallel.
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
			// No entry for calls that never were: anyone could fill the record.
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
