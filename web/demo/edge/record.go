package edge

import (
	"cmp"
	"slices"
	"time"
)

// Record has the figures of all calls together and of each call. The package documentation defines them in "What
// counts".
type Record struct {
	Total Tally        `json:"total"`
	Calls []CallRecord `json:"calls"` // sorted by leg, channel and user
}

// CallRecord is the record of one user in one channel, over all joins.
type CallRecord struct {
	Leg     Leg    `json:"leg"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user"`
	State   string `json:"state"` // "in-call", "dropped" (and not joined again) or "left"
	Tally
}

// Tally has the figures of one call, or the sums of all calls. Times are in seconds.
type Tally struct {
	LostSeconds      float64  `json:"lostSeconds"` // seconds in which calls were down because of their tokens
	HeldSeconds      float64  `json:"heldSeconds"`
	Joins            int      `json:"joins"`
	JoinsRefused     int      `json:"joinsRefused"` // refused because of the token; the sum also has the joins of calls that were never admitted
	RenewalsAccepted int      `json:"renewalsAccepted"`
	RenewalsRefused  int      `json:"renewalsRefused"`
	Drops            int      `json:"drops"`
	SilentDrops      int      `json:"silentDrops"`      // drops for which no event was sent
	Breaks           int      `json:"breaks"`           // broken connections, in the call or after its drop
	MinMarginSeconds *float64 `json:"minMarginSeconds"` // null if no renewal was accepted
}

// Record returns the record as of now, including calls and losses that still go on. It changes nothing.
func (e *Edge) Record() Record {
	e.mu.Lock()
	defer e.unlock()
	now := time.Now()
	record := Record{Calls: make([]CallRecord, 0, len(e.histories))}
	var total history
	total.joinsRefused = e.joinsRefused
	for who, h := range e.histories {
		h.owner.settle(now)
		closed := h.asOf(now)
		total.add(closed)
		record.Calls = append(record.Calls, CallRecord{
			Leg: who.leg, Channel: who.channel, User: who.user, State: h.stateName(), Tally: closed.tally(),
		})
	}
	record.Total = total.tally()
	slices.SortFunc(record.Calls, func(a, b CallRecord) int {
		return cmp.Or(cmp.Compare(a.Leg, b.Leg), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.User, b.User))
	})
	return record
}

// history is the record of one identity. It is guarded by Edge.mu.
type history struct {
	owner *Call // the call that was admitted last

	joinedAt  time.Time // zero unless the user is in the call
	droppedAt time.Time // when the call was dropped; zero if it was never dropped, or if the user has joined again or left since then
	brokeAt   time.Time // when the connection broke after the drop; zero if it did not

	held, lost       time.Duration // sums of the calls and losses that have ended
	joins            int
	joinsRefused     int
	renewalsAccepted int
	renewalsRefused  int
	drops            int
	silentDrops      int
	breaks           int
	minMargin        time.Duration // valid if renewalsAccepted > 0
}

// joined records a join. If the call was dropped before, its lost time ends now, and joined returns how long that
// time was.
func (h *history) joined(at time.Time) time.Duration {
	lost := h.closeLoss(at)
	h.joins++
	h.joinedAt = at
	return lost
}

func (h *history) renewed(margin time.Duration) {
	if h.renewalsAccepted == 0 || margin < h.minMargin {
		h.minMargin = margin
	}
	h.renewalsAccepted++
}

func (h *history) dropped(at time.Time, silent bool) {
	h.closeStay(at)
	h.droppedAt = at
	h.drops++
	if silent {
		h.silentDrops++
	}
}

func (h *history) left(at time.Time, from state) {
	if from == inCall {
		h.closeStay(at)
	} else {
		h.closeLoss(at)
	}
}

// broke records a broken connection. After a drop it is not known yet when the lost time ends: at the next join if the
// user joins the call again, and otherwise at this break, which asOf assumes until then.
func (h *history) broke(at time.Time, from state) {
	h.breaks++
	if from == inCall {
		h.closeStay(at)
	} else {
		h.brokeAt = at
	}
}

func (h *history) closeStay(at time.Time) {
	h.held += at.Sub(h.joinedAt)
	h.joinedAt = time.Time{}
}

func (h *history) closeLoss(at time.Time) time.Duration {
	var lost time.Duration
	if !h.droppedAt.IsZero() {
		lost = at.Sub(h.droppedAt)
	}
	h.lost += lost
	h.droppedAt, h.brokeAt = time.Time{}, time.Time{}
	return lost
}

// asOf returns a copy in which a call or a loss that is still running ends now.
func (h *history) asOf(now time.Time) history {
	c := *h
	if !c.joinedAt.IsZero() {
		c.closeStay(now)
	}
	if !c.brokeAt.IsZero() {
		now = c.brokeAt
	}
	c.closeLoss(now)
	return c
}

func (h *history) stateName() string {
	switch {
	case !h.joinedAt.IsZero():
		return "in-call"
	case !h.droppedAt.IsZero():
		return "dropped"
	}
	return "left"
}

func (h *history) add(o history) {
	if o.renewalsAccepted > 0 && (h.renewalsAccepted == 0 || o.minMargin < h.minMargin) {
		h.minMargin = o.minMargin
	}
	h.held += o.held
	h.lost += o.lost
	h.joins += o.joins
	h.joinsRefused += o.joinsRefused
	h.renewalsAccepted += o.renewalsAccepted
	h.renewalsRefused += o.renewalsRefused
	h.drops += o.drops
	h.silentDrops += o.silentDrops
	h.breaks += o.breaks
}

func (h *history) tally() Tally {
	t := Tally{
		LostSeconds:      h.lost.Seconds(),
		HeldSeconds:      h.held.Seconds(),
		Joins:            h.joins,
		JoinsRefused:     h.joinsRefused,
		RenewalsAccepted: h.renewalsAccepted,
		RenewalsRefused:  h.renewalsRefused,
		Drops:            h.drops,
		SilentDrops:      h.silentDrops,
		Breaks:           h.breaks,
	}
	if h.renewalsAccepted > 0 {
		margin := h.minMargin.Seconds()
		t.MinMarginSeconds = &margin
	}
	return t
}
