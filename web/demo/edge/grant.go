package edge

import (
	"math"
	"time"
)

const (
	never          = math.MaxInt64 // the expiry of a privilege that never expires
	maxLifeSeconds = 24 * 60 * 60  // Agora limits the lifetime of a token to this
)

// grant is what a token allows, and until when. Times are in Unix seconds.
type grant struct {
	tokenEnds   int64
	joinEnds    int64 // expiry of the privilege to join, or the constant `never`
	publishEnds int64 // earliest expiry of the publishing privileges, or the constant `never`
	publish     bool  // whether the token has all privileges of a publisher: audio (2), video (3) and data (4)
}

// newGrant makes a grant from the expiries of privileges. It refuses a token without the privilege number `join`, which
// is needed to join.
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

// silent reports whether the token expires before its privilege to join. The SDKs watch only the privilege, so the
// client then gets no event, neither before the token expires nor after it.
func (g grant) silent() bool { return g.tokenEnds < g.joinEnds }

// runOut returns a refusal if the grant has expired. From the second of its expiry on, a grant counts as expired.
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

func (g grant) publishing(now time.Time) bool {
	return g.publish && now.Before(g.ends()) &&
		(g.publishEnds == never || now.Before(time.Unix(g.publishEnds, 0)))
}
