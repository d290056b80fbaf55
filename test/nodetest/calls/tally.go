package calls

import (
	"errors"
	"time"

	"refresher/client"
	"refresher/test/nodetest"
)

// Tally is a call's own record, of what the service told it.
type Tally struct {
	// Node is the one that it is, or was last, connected to, if the transport
	// reports it.
	Node *nodetest.Node

	Sessions  int           // opened: one, unless a key was refused
	Connected int           // connections on which it joined or resumed
	Renewals  int           // bundles applied to the call as it went on
	Rejoins   int           // bundles that came with the advice to join again
	Late      int           // bundles that came after the tokens before had run out
	LeastLeft time.Duration // in the tokens before, when a bundle came
	LastLoss  error         // of the connection

	expiresAt time.Time // of the tokens in use
	joinedAt  time.Time // when it had its first tokens
}

// applied counts a bundle.
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

// noticed counts what happened to the connection.
func (t *Tally) noticed(n client.Event) {
	switch n.Kind {
	case client.Connected:
		t.Connected++
	case client.Lost:
		t.LastLoss = n.Err
		if errors.Is(n.Err, client.ErrUnknownSession) {
			t.Sessions++ // it joins afresh
		}
	case client.Moved, client.Refused:
	}
}

// reconnects is how often the call came back.
func (t *Tally) reconnects() int { return max(0, t.Connected-1) }
