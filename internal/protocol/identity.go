package protocol

import "refresher/internal/session"

// Identity is the JSON form of a session's identity in messages to back ends and operators. The types of these messages
// embed Identity.
type Identity struct {
	RTC  *RTC  `json:"rtc,omitempty"`
	RTM  *User `json:"rtm,omitempty"`
	Chat *User `json:"chat,omitempty"`
}

// IdentityOf returns the JSON form of id. The result shares no memory with id, since an operator can change the role in
// id later.
func IdentityOf(id session.Identity) Identity {
	var w Identity
	if r := id.RTC; r != nil {
		w.RTC = &RTC{Channel: r.Channel, Role: r.Role}
		if account, uid := r.Account, r.UID; account != "" {
			w.RTC.Account = &account
		} else {
			w.RTC.UID = &uid
		}
	}
	if r := id.RTM; r != nil {
		w.RTM = &User{r.UserID}
	}
	if r := id.Chat; r != nil {
		w.Chat = &User{r.UserID}
	}
	return w
}
