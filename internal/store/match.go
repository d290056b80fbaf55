package store

import (
	"cmp"
	"slices"

	"refresher/internal/session"
)

// Matches reports whether an order is about a session: it belongs to the same
// project, and fits in all that the order names. Where that is a channel and a
// user, it is the RTC user in that channel; else a user of any service.
func (o *Order) Matches(k *session.Key) bool {
	if o.App != k.App || o.Session != "" && o.Session != k.Session || o.Subject != "" && o.Subject != k.Subject {
		return false
	}
	rtc := k.Identity.RTC
	if o.Channel != "" && (rtc == nil || rtc.Channel != o.Channel) {
		return false
	}
	if o.User == "" {
		return true
	}
	users := UsersOf(&k.Identity, o.Channel != "")
	return slices.Contains(users[:], o.User)
}

// UsersOf are the names by which an order can mean the user of a session, 0 for the
// uid that stands for all; empty is none. In a channel only the RTC user counts.
func UsersOf(id *session.Identity, inChannel bool) (users [3]string) {
	if id.RTC != nil {
		users[0] = cmp.Or(id.RTC.User(), "0")
	}
	if inChannel {
		return users
	}
	if id.RTM != nil {
		users[1] = id.RTM.UserID
	}
	if id.Chat != nil {
		users[2] = id.Chat.UserID
	}
	return users
}
