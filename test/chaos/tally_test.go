package chaos

import (
	"errors"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
)

// tally is a call's own record, of what the service told it.
type tally struct {
	node *node // that it is, or was last, connected to

	sessions  int           // opened: one, unless a key was refused
	connected int           // connections on which it joined or resumed
	renewals  int           // bundles applied to the call as it went on
	rejoins   int           // bundles that came with the advice to join again
	late      int           // bundles that came after the tokens before had run out
	leastLeft time.Duration // in the tokens before, when a bundle came
	expiresAt int64         // of the tokens in use, Unix seconds
	joinedAt  time.Time     // when it had its first tokens
	lastLoss  error         // of the connection
}

// applied counts a bundle.
func (t *tally) applied(b client.Bundle) {
	now := time.Now()
	left := time.Unix(t.expiresAt, 0).Sub(now)
	t.expiresAt = b.ExpiresAt()
	if b.First {
		t.joinedAt, t.sessions = now, 1
		return
	}
	if b.Action == protocol.ActionRejoin {
		t.rejoins++
	} else {
		t.renewals++
	}
	if left <= 0 {
		t.late++
	}
	if t.renewals+t.rejoins == 1 || left < t.leastLeft {
		t.leastLeft = left
	}
}

// noticed counts what happened to the connection.
func (t *tally) noticed(n client.Notice) {
	switch n.Kind {
	case client.Connected:
		t.connected++
	case client.Lost:
		t.lastLoss = n.Err
		closed, ok := errors.AsType[*client.ClosedError](n.Err)
		if ok && closed.Code == protocol.CloseUnknownSession {
			t.sessions++ // it joins afresh
		}
	case client.Moved, client.Refused:
	}
}

// reconnects is how often the call came back.
func (t *tally) reconnects() int { return max(0, t.connected-1) }
