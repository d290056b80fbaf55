package protocol

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// The result shares no memory with the session's identity, whose role may change.
func TestIdentityOf(t *testing.T) {
	id := session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}, RTM: &session.RTM{UserID: "ana"}}
	uid := uint32(7)
	want := Identity{RTC: &RTC{Channel: "c", UID: &uid}, RTM: &User{"ana"}}
	got := IdentityOf(id)
	id.RTC.UID, id.RTC.Role = 8, session.Publisher
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := IdentityOf(session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Account: "ana"}}); got.RTC.UID != nil || *got.RTC.Account != "ana" {
		t.Error("want the account, and no uid")
	}
}
