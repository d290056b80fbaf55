package storetest

import (
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// policy is the policy of a node with the default settings.
var policy = session.Policy{
	TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
	AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
}

// Apps are the App IDs of the sessions' projects. A store under test serves them.
var Apps = []string{"0123456789abcdef0123456789abcdef", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}

// certificate is the fingerprint of the App Certificate that signed the tokens.
const certificate = 0x5eed_cafe

// roundTrip is how long a client takes to confirm the tokens that the node pushed.
const roundTrip = 80 * time.Millisecond

// Joined returns the record that a node writes for a session whose client joined at the time
// `now` and confirmed its tokens at once. The code of a running node makes the record, so
// that each of its times has a realistic unit and size.
func Joined(id, node string, who session.Identity, now time.Time) store.Record {
	s := join(id, who, instant(now))
	return written(s, node, 1, instant(now.Add(roundTrip)))
}

// Renewed is like Joined, but for a session that was joined half an hour before the time
// `now`, and whose tokens were renewed at that time.
func Renewed(id, node string, who session.Identity, now time.Time) store.Record {
	s := join(id, who, instant(now.Add(-30*time.Minute)))
	at := instant(now)
	s.Issue(tokens(s, at), session.CauseSchedule, at)
	s.Sent()
	return written(s, node, 2, instant(now.Add(roundTrip)))
}

func join(id string, who session.Identity, now session.Instant) *session.Session {
	terms, err := policy.Terms(&session.Join{Identity: who, Caller: session.Caller{Grant: session.Grant{All: true}}}, now)
	if err != nil {
		panic(err) // cannot happen: the grant permits everything
	}
	s := session.New(session.ResumeClaims{Session: id, App: Apps[0], Identity: who, Terms: terms}, &policy, now)
	s.Approve(0, now) // every join approves the session, even if no back end is configured
	s.Attach(tokens(s, now), now)
	return s
}

func tokens(s *session.Session, now session.Instant) session.Tokens {
	_, expiresAt, err := s.NextValidity(now)
	if err != nil {
		panic(err) // cannot happen: the session's terms last a week
	}
	return session.Tokens{ExpiresAt: expiresAt}
}

// written lets the client confirm the newest tokens (a bundle), and returns the session's record.
func written(s *session.Session, node string, version uint64, now session.Instant) store.Record {
	if _, err := s.Ack(version, now); err != nil {
		panic(err) // cannot happen: the client confirms each bundle of tokens only once
	}
	r := s.Record("", now)
	r.Certificate = certificate
	return store.Record{
		Record: r, Node: node, Version: version, Due: now.MilliAt(s.Deadline()), Delivered: store.DeliveredJoined,
	}
}

// instant returns the values of a node's clocks at the given time. Its monotonic clock
// started at the Unix epoch.
func instant(at time.Time) session.Instant {
	wall := session.NanoOf(at)
	return session.Instant{Mono: wall.Sub(0), Wall: wall}
}
