package redis

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"refresher/internal/session"
	"refresher/internal/store"
)

// State letters of the fence: the states of a session that the scripts distinguish.
const (
	letterAttached  = "a"
	letterDetached  = "d"
	letterExpired   = "x" // the session expired, and your back end has not acknowledged the end
	letterEnded     = "e" // the session was ended on purpose, and your back end has not acknowledged the end
	letterTombstone = "b"
	letterRemoved   = "g" // this letter asks the save script to remove the session, and is never stored
)

func letter(r *store.Record) string {
	switch {
	case r.Removable():
		return letterRemoved
	case r.IsTombstone():
		return letterTombstone
	case r.State == session.Ended && r.Reason == session.EndExpired:
		return letterExpired
	case r.State == session.Ended:
		return letterEnded
	case r.State == session.Attached:
		return letterAttached
	default:
		return letterDetached
	}
}

// roleLetter returns the letter of an RTC role in the fence. A session without RTC has "-"
// instead. While an operator's change of the session (a wish) is pending, the letter is
// upper-case, or the "-" is a "+".
func roleLetter(role session.Role) string {
	if role == session.Publisher {
		return "p"
	}
	return "s"
}

// packFence returns r's fieldFence. The version is the last word: most saves change nothing
// else, so the save script compares the words before the version as one text.
func packFence(r *store.Record) string {
	b := make([]byte, 0, 64)
	number := func(n uint64, next string) { b = append(strconv.AppendUint(b, n, 10), next...) }
	number(store.Format, " ")
	number(r.Epoch, " ")
	role := "-"
	if rtc := r.Identity.RTC; rtc != nil {
		role = roleLetter(rtc.Role)
	}
	number(r.Proven, " "+letter(r)+" "+store.NodeID(r.Node)+" "+role+" ")
	number(uint64(r.WishVersion), " ")
	number(r.Version, "")
	return string(b)
}

// unpackFence reads a fieldFence into r. The record's format is checked only here and, for the
// scripts, in scripts/fence.lua.
func unpackFence(text string, r *store.Record) error {
	w := words{left: strings.Split(text, " ")}
	if format := w.number(""); w.err == nil && format != store.Format {
		return fmt.Errorf("format %d, and this release reads %d", format, store.Format)
	}
	r.Epoch, r.Proven = uint64(w.number("")), uint64(w.number(""))
	state, node, role := w.next(), w.next(), w.next()
	r.WishVersion, r.Version = session.UnixMilli(w.number("")), uint64(w.number(""))
	if err := w.end(); err != nil || node == "" || r.WishVersion < 0 || int64(r.Version) < 0 {
		return cmp.Or(err, errNumber)
	}
	r.Node = node
	switch state {
	case letterAttached:
		r.State = session.Attached
	case letterDetached:
		r.State = session.Detached
	case letterExpired, letterEnded, letterTombstone:
		r.State = session.Ended
	default:
		return fmt.Errorf("state %q", state)
	}
	switch role {
	case "p", "P":
		r.Identity.RTC = &session.RTC{Role: session.Publisher}
	case "s", "S":
		r.Identity.RTC = &session.RTC{}
	case "-", "+":
	default:
		return fmt.Errorf("role %q", role)
	}
	r.WishPending = role == "P" || role == "S" || role == "+"
	return nil
}
