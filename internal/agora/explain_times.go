package agora

import (
	"strings"
	"time"

	"refresher/internal/session"
)

const (
	// clocksDiffer is the largest clock skew, in seconds, that causes no warning.
	clocksDiffer = 10
	// These are the ids of RTC's privileges to publish: 2 is audio, 3 is video, 4 is data.
	firstPublish, lastPublish = 2, 4
)

// times adds findings about when the token's rights to join and to publish expire.
func (e *examination) times(t *Token, s *Service) {
	if t.IssuedAt > e.now+clocksDiffer {
		e.warn(FindingFuture, "issued %s from now, at %s: the clock of its maker is ahead, or this one behind; Agora may refuse it until then", t.IssuedAt.Sub(e.now), moment(t.IssuedAt))
	}
	entry := entryPrivilege(s)
	if entry == nil {
		e.fail(FindingPrivilege, "110 invalid token: of %s it holds no privilege to get in", s.Type)
		return
	}

	// Agora limits both expiries to a day after the issue.
	most := t.IssuedAt + maxLifetime
	end, access := min(t.ValidUntil, most), most
	if entry.ExpiresAt != 0 {
		access = min(entry.ExpiresAt, most)
	}
	if t.ValidUntil > most || entry.ExpiresAt > most {
		e.warn(FindingLifetime, "lives over 24 hours, by what it says: Agora cuts that without a word, to %s", moment(most))
	}
	switch {
	case entry.ExpiresAt == 0:
		e.warn(FindingSilentEnd, "its privilege to get in never ends, but the token does, at %s: SDKs watch the privilege, so no token-privilege-will-expire event comes; the call is cut off and can't be rejoined; set both to the same end", moment(end))
		access = end
	case access > end:
		e.warn(FindingSilentEnd, "the token ends at %s, %s before its privilege to get in: SDKs watch the privilege, so no token-privilege-will-expire event comes; the call is cut off and can't be rejoined; set both to the same end", moment(end), access.Sub(end))
		access = end
	case access < end && t.Version == V007: // no warning for a 006 token, whose field ts is always 24 hours after the issue
		e.warn(FindingCutOff, "its privilege to get in ends at %s, %s before the token: the call is cut off there", moment(access), end.Sub(access))
	}
	e.publishing(s, access)
	if e.now >= access {
		what := "it"
		if access < end {
			what = "its privilege to get in"
		}
		e.fail(FindingExpired, "109 token expired: %s ended %s ago, at %s", what, e.now.Sub(access), moment(access))
	}
	if !e.failed() {
		e.info(FindingGood, "good for %d more seconds, until %s, as far as could be checked", access-e.now, moment(access))
	}
}

// publishing adds findings about media that the holder cannot publish, and about media whose right to publish expires
// before the right to join. The parameter `access` is the time when the right to join expires.
func (e *examination) publishing(s *Service, access session.UnixSec) {
	if s.Type != ServiceRTC {
		return
	}
	held, soonest := 0, access
	var missing []string
	for id := uint16(firstPublish); id <= lastPublish; id++ {
		p := find(s, id)
		switch {
		case p == nil, p.ExpiresAt != 0 && p.ExpiresAt <= e.now:
			missing = append(missing, strings.TrimPrefix(privilegeName(ServiceRTC, id), "publish "))
		default:
			held++
			if p.ExpiresAt != 0 {
				soonest = min(soonest, p.ExpiresAt)
			}
		}
	}
	if soonest < access {
		e.warn(FindingPublishEnds, "a privilege to publish ends at %s, %s before the call", moment(soonest), access.Sub(soonest))
	}
	if e.use.Publish && len(missing) > 0 {
		role := "may publish, but not "
		if held == 0 {
			role = "made for a subscriber: may not publish "
		}
		e.info(FindingAudience, "%s%s; Agora enforces that where co-host authentication is on", role, strings.Join(missing, ", "))
	}
}

// entryPrivilege returns the privilege to join or log in, or nil if the service has none. SDKs watch the expiry of this
// privilege.
func entryPrivilege(s *Service) *Privilege {
	var ids []uint16
	switch s.Type {
	case ServiceRTC, ServiceFPA:
		ids = []uint16{1}
	case ServiceRTM:
		ids = []uint16{1, uint16(login006)}
	case ServiceChat:
		ids = []uint16{1, 2}
	case ServiceAPaaS:
		ids = []uint16{1, 2, 3}
	}
	for _, id := range ids {
		if p := find(s, id); p != nil {
			return p
		}
	}
	return nil
}

func find(s *Service, id uint16) *Privilege {
	for i := range s.Privileges {
		if s.Privileges[i].ID == id {
			return &s.Privileges[i]
		}
	}
	return nil
}

func moment(s session.UnixSec) string { return s.Time().UTC().Format(time.RFC3339) }
