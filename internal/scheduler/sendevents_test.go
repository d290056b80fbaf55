package scheduler

import (
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
)

// An event's ID is the same on every node, and contains no dot, since a dot marks the end of the ID
// in the text that webhooks sign. The event names the project and the subject of the session.
func TestNewEvent(t *testing.T) {
	record := session.Record{ResumeClaims: session.ResumeClaims{App: "app", Session: "S", Subject: "ana"}, Seq: 12}
	expired, ended := record, record
	expired.Reason, ended.Reason = session.EndExpired, session.EndLeft
	for want, c := range map[string]struct {
		what   store.Delivered
		record session.Record
		typ    session.EventType
		reason session.EndReason
	}{
		"S-joined":         {store.DeliveredJoined, record, session.EventJoined, ""},
		"S-unreachable-12": {store.DeliveredUnreachable, record, session.EventUnreachable, ""},
		"S-expired-12":     {store.DeliveredEnd, expired, session.EventExpired, ""},
		"S-ended":          {store.DeliveredEnd, ended, session.EventEnded, session.EndLeft},
	} {
		for _, node := range []string{"a", "b"} {
			got := newEvent(c.what, &c.record, node, 0)
			check(t, got.ID == want && got.Type == c.typ && got.Reason == c.reason && got.Node == node, "%+v on node %s, want %s", got, node, want)
			check(t, got.App == "app" && got.Session == "S" && got.Subject == "ana", "%+v, want app, S and ana", got)
		}
	}
}
