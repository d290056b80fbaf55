package edge

import (
	"math"
	"time"
)

const (
	never          = math.MaxInt64 // stands for an expiry that never comes
	maxLifeSeconds = 24 * 60 * 60  // Agora's limit for the lifetime of a token
)

// grant is the rights of a token, with their expiries in Unix seconds.
type grant struct {
	tokenEnds   int64
	joinEnds    int64 // Unix seconds at which the join privilege expires, or the constant `never`
	publishEnds int64 // the same of the publishing privilege that expires first
	publish     bool  // the token has all of audio (2), video (3) and data (4): the publisher's role
}

// newGrant makes a grant from privileges with their expiries. It refuses a token without the privilege to join, whose
// number is `join`.
func newGrant(tokenEnds int64, ends map[uint16]int64, join uint16) (grant, *Error) {
	joinEnds, ok := ends[join]
	if !ok {
		return grant{}, invalid("the token lacks the privilege to join")
	}
	g := grant{tokenEnds: tokenEnds, joinEnds: joinEnds, publishEnds: never, publish: true}
	for privilege := uint16(2); privilege <= 4; privilege++ {
		end, ok := ends[privilege]
		if !ok {
			g.publish = false
			break
		}
		g.publishEnds = min(g.publishEnds, end)
	}
	return g, nil
}

// ends returns the time at which the call must be dropped.
func (g grant) ends() time.Time { return time.Unix(min(g.tokenEnds, g.joinEnds), 0) }

// silent reports whether the token expires before its privilege. The SDKs watch only the privilege, so then the client
// gets no event, neither before nor after the token expires.
func (g grant) silent() bool { return g.tokenEnds < g.joinEnds }

// runOut returns a refusal if the grant has expired; it counts as expired from the second of its expiry on.
func (g grant) runOut(now time.Time) *Error {
	if now.Before(g.ends()) {
		return nil
	}
	what, at := "token", g.tokenEnds
	if g.joinEnds < g.tokenEnds {
		what, at = "join privilege", g.joinEnds
	}
	return refuse(CodeExpired, "the %s expired at Unix second %d", what, at)
}

// publishing reports whether the holder may send audio, video and data.
func (g grant) publishing(now time.Time) bool {
	return g.publish && now.Before(g.ends()) &&
		(g.publishEnds == never || now.Before(time.Unix(g.publishEnds, 0)))
}
