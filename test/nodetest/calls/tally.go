package calls

import (
	"errors"
	"time"

	"refresher/client"
	"refresher/test/nodetest"
)

// Tally is a call's record of the tokens and events that it received from the service.
type Tally struct {
	// Node is the node of the call's current or last connection, if the transport reports it.
	Node *nodetest.Node

	Sessions  int // sessions that the call has had; a second one means that the service refused a resume key
	Connected int // connections on which the call joined or resumed
	Renewals  int
	Rejoins   int           // bundles with the action "rejoin", which came after the old tokens had expired
	Late      int           // bundles that arrived after the previous tokens had expired
	LeastLeft time.Duration // the shortest time that the old tokens had left when a bundle arrived
	LastLoss  error

	expiresAt time.Time
	joinedAt  time.Time
}

func (t *Tally) applied(b client.Tokens) {
	now := time.Now()
	left := t.expiresAt.Sub(now)
	t.expiresAt = b.ExpiresAt
	if b.Action == client.Join {
		t.joinedAt, t.Sessions = now, 1
		return
	}
	if b.Action == client.Rejoin {
		t.Rejoins++
	} else {
		t.Renewals++
	}
	if left <= 0 {
		t.Late++
	}
	if t.Renewals+t.Rejoins == 1 || left < t.LeastLeft {
		t.LeastLeft = left
	}
}

func (t *Tally) noticed(n client.Event) {
	switch n.Kind {
	case client.Connected:
		t.Connected++
	case client.Lost:
		t.LastLoss = n.Err
		if errors.Is(n.Err, client.ErrUnknownSession) {
			t.Sessions++ // the service does not know the old session any more, so the client will open a new one
		}
	case client.Moved, client.Refused:
	}
}

func (t *Tally) reconnects() int { return max(0, t.Connected-1) }
