package store

import (
	"cmp"

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
	if o.User == "" || rtc != nil && userOf(rtc) == o.User {
		return true
	}
	rtm, chat := k.Identity.RTM, k.Identity.Chat
	return o.Channel == "" && (rtm != nil && rtm.UserID == o.User || chat != nil && chat.UserID == o.User)
}

// userOf is an RTC user's name in orders, 0 for the uid that stands for all.
func userOf(r *session.RTC) string { return cmp.Or(r.User(), "0") }
