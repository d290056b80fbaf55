package edge

import (
	"cmp"
	"slices"
	"time"
)

// Record has the results of all calls, in total and for each. "What counts" in the package
// documentation defines the figures.
type Record struct {
	Total Tally        `json:"total"`
	Calls []CallRecord `json:"calls"` // sorted by leg, channel and user
}

// CallRecord is the record of one user in one channel, over all joins.
type CallRecord struct {
	Leg     Leg    `json:"leg"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user"`
	State   string `json:"state"` // "in-call", "dropped" (and not back yet) or "left"
	Tally
}

// Tally has the figures of a call, or the totals. Times are in seconds.
type Tally struct {
	LostSeconds      float64  `json:"lostSeconds"` // the most important figure
	HeldSeconds      float64  `json:"heldSeconds"`
	Joins            int      `json:"joins"`
	JoinsRefused     int      `json:"joinsRefused"` // refused because of their tokens; the total includes the joins of unknown calls
	RenewalsAccepted int      `json:"renewalsAccepted"`
	RenewalsRefused  int      `json:"renewalsRefused"`
	Drops            int      `json:"drops"`
	SilentDrops      int      `json:"silentDrops"`      // the part of Drops for which no event was sent
	Breaks           int      `json:"breaks"`           // connections that broke during the call or after its drop
	MinMarginSeconds *float64 `json:"minMarginSeconds"` // null if nothing was renewed
}

// Record returns the record. Calls and losses in progress count up to now; nothing is changed.
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

// history is the record of one identity. Guarded by Edge.mu.
type history struct {
	owner *Call // the call that was admitted last; never nil once the history is in the map

	joinedAt  time.Time // zero if the user is not in the call
	droppedAt time.Time // zero unless the call was dropped, and was neither joined again nor left since
	brokeAt   time.Time // when the connection broke after the drop; zero if it did not break

	held, lost       time.Duration // figures of the ended calls and losses
	joins            int
	joinsRefused     int
	renewalsAccepted int
	renewalsRefused  int
	drops            int
	silentDrops      int
	breaks           int
	minMargin        time.Duration // valid if renewalsAccepted > 0
}

// joined records a join. It ends the loss before it, if any, and returns that loss.
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

// broke records a broken connection. A loss in progress continues, since the user may join the call again and was then
// without the call all the time; if the user does not do so, asOf ends the loss at the break.
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

// asOf returns a copy in which calls and losses in progress end at the time `now`.
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

// add adds o to the totals.
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
