package webhook

import "refresher/internal/session"

// Identity is a session's identity on the wire: the services that it has. It is
// for embedding.
type Identity struct {
	RTC  *RTC  `json:"rtc,omitempty"`
	RTM  *User `json:"rtm,omitempty"`
	Chat *User `json:"chat,omitempty"`
}

// RTC has a uid, which may be 0, or an account, never both.
type RTC struct {
	Channel string       `json:"channel"`
	UID     *uint32      `json:"uid,omitempty"`
	Account string       `json:"account,omitempty"`
	Role    session.Role `json:"role"`
}

// User is a user of RTM or Chat.
type User struct {
	UserID string `json:"userId"`
}

// IdentityOf is id on the wire. It shares nothing with it.
func IdentityOf(id session.Identity) Identity {
	var w Identity
	if r := id.RTC; r != nil {
		w.RTC = &RTC{Channel: r.Channel, Account: r.Account, Role: r.Role}
		if uid := r.UID; r.Account == "" {
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
