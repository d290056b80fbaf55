package redis

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Fields of a session's hash. Readers ignore fields that they do not know, and
// writers leave them alone: a release may add some. What older releases would
// misread wants a higher store.Format.
const (
	// fieldFence decides who may write: "format epoch proven letter node
	// rev". Whatever else a release does, this field begins with its format:
	// a word of its own, not a field, so that one look tells all. Rev is last,
	// since a renewal changes nothing else of it.
	fieldFence = "fence"
	// fieldDue is not in the hash: the scripts add it to their answers. It is
	// when the session next needs attention, in Unix milliseconds.
	fieldDue = "due"
	// fieldState is what changes with each renewal: "seq expiresAt heldSeq
	// heldExpiresAt detachedAtMs flags told reason", times in Unix seconds
	// but for the one. One short field costs Redis half of what eight do.
	fieldState = "state"
	// A grave has these two, and "forget": when it may go, in Unix seconds.
	// Only the scripts look at that.

	// The grant, which does not change.
	fieldApp     = "app"
	fieldTTL     = "ttl"   // seconds
	fieldUntil   = "until" // Unix seconds
	fieldChannel = "channel"
	fieldUID     = "uid"
	fieldAccount = "account"
	fieldRole    = "role"
	fieldRTM     = "rtm"
	fieldChat    = "chat"
)

// Letters of the fence: what the scripts must know of a session's state.
const (
	letterAttached = "a"
	letterDetached = "d"
	letterExpired  = "x" // not announced yet
	letterEnded    = "e" // on purpose, not announced yet
	letterBuried   = "b" // on purpose
	letterGone     = "g" // never stored
)

// Flags of the state.
const (
	flagMissed = 1 << iota
	flagRanOut
	flagReported
	flagFetched
)

// letter is r's state in the fence.
func letter(r *store.Record) string {
	switch {
	case r.Gone():
		return letterGone
	case r.Buried():
		return letterBuried
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

// packFence is r's fieldFence.
func packFence(r *store.Record) string {
	b := make([]byte, 0, 64)
	for _, n := range [...]uint64{store.Format, r.Epoch, r.Proven} {
		b = strconv.AppendUint(b, n, 10)
		b = append(b, ' ')
	}
	b = append(append(b, letter(r)...), ' ')
	b = append(append(b, r.Node...), ' ')
	return string(strconv.AppendUint(b, r.Rev, 10))
}

// packState is r's fieldState.
func packState(r *store.Record) string {
	var flags int64
	if r.Missed {
		flags |= flagMissed
	}
	if r.RanOut {
		flags |= flagRanOut
	}
	if r.Reported {
		flags |= flagReported
	}
	if r.Fetched {
		flags |= flagFetched
	}
	b := make([]byte, 0, 64)
	for _, n := range [...]int64{int64(r.Seq), r.ExpiresAt, int64(r.HeldSeq), r.HeldExpiresAt, r.DetachedAt, flags, int64(r.Told)} {
		b = strconv.AppendInt(b, n, 10)
		b = append(b, ' ')
	}
	return string(append(b, r.Reason...))
}

// unpackState reads a fieldState into r.
func unpackState(text string, r *store.Record) error {
	parts := strings.SplitN(text, " ", 8)
	if len(parts) < 8 {
		return fmt.Errorf("state %q: want 8 words", text)
	}
	var n [7]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(parts[i], 10, 64); err != nil || n[i] < 0 {
			return fmt.Errorf("state %q: word %d is no number", text, i+1)
		}
	}
	if n[6] > math.MaxUint8 {
		return fmt.Errorf("state %q: word 7 is too high", text)
	}
	r.Seq, r.ExpiresAt, r.HeldSeq, r.HeldExpiresAt, r.DetachedAt = uint64(n[0]), n[1], uint64(n[2]), n[3], n[4]
	r.Missed, r.RanOut, r.Reported = n[5]&flagMissed != 0, n[5]&flagRanOut != 0, n[5]&flagReported != 0
	r.Fetched = n[5]&flagFetched != 0
	r.Told, r.Reason = store.Told(n[6]), session.EndReason(parts[7])
	return nil
}

// unpackFence reads a fieldFence into r. Its format is the scripts' to look at.
func unpackFence(text string, r *store.Record) error {
	parts := strings.SplitN(text, " ", 5)
	end := strings.LastIndexByte(text, ' ')
	if len(parts) < 5 || end < len(text)-len(parts[4]) {
		return fmt.Errorf("fence %q: want 6 words", text)
	}
	var format uint64
	for _, word := range []struct {
		n    *uint64
		text string
	}{{&format, parts[0]}, {&r.Epoch, parts[1]}, {&r.Proven, parts[2]}, {&r.Rev, text[end+1:]}} {
		var err error
		if *word.n, err = strconv.ParseUint(word.text, 10, 64); err != nil {
			return fmt.Errorf("fence %q: %q is no number", text, word.text)
		}
	}
	switch parts[3] {
	case letterAttached:
		r.State = session.Attached
	case letterDetached:
		r.State = session.Detached
	case letterExpired, letterEnded, letterBuried:
		r.State = session.Ended
	default:
		return fmt.Errorf("fence %q: unknown letter", text)
	}
	r.Node = strings.TrimSuffix(parts[4], text[end:])
	return nil
}

// grant is the fields and values that make a new hash.
func grant(r *store.Record) []any {
	fields := []any{fieldApp, r.App, fieldTTL, int64(r.Terms.TTL / time.Second), fieldUntil, r.Terms.Until}
	if rtc := r.Identity.RTC; rtc != nil {
		fields = append(fields, fieldChannel, rtc.Channel, fieldRole, rtc.Role.String())
		if rtc.Account != "" {
			fields = append(fields, fieldAccount, rtc.Account)
		} else {
			fields = append(fields, fieldUID, int64(rtc.UID))
		}
	}
	if rtm := r.Identity.RTM; rtm != nil {
		fields = append(fields, fieldRTM, rtm.UserID)
	}
	if chat := r.Identity.Chat; chat != nil {
		fields = append(fields, fieldChat, chat.UserID)
	}
	return fields
}

// unpack reads a whole hash, with its fieldDue.
func unpack(id string, fields map[string]string) (store.Record, error) {
	var r store.Record
	r.Session = id
	r.App = fields[fieldApp]
	if err := unpackFence(fields[fieldFence], &r); err != nil {
		return r, err
	}
	if err := unpackState(fields[fieldState], &r); err != nil {
		return r, err
	}
	if r.State != session.Ended {
		r.Reason = "" // it had expired, and its client came back
	}
	var err error
	if r.DueMs, err = strconv.ParseInt(fields[fieldDue], 10, 64); err != nil {
		return r, fmt.Errorf("due %q: want Unix milliseconds", fields[fieldDue])
	}
	ttl, err := strconv.ParseInt(fields[fieldTTL], 10, 32)
	if err != nil {
		return r, fmt.Errorf("ttl %q: want seconds", fields[fieldTTL])
	}
	r.Terms.TTL = time.Duration(ttl) * time.Second
	if r.Terms.Until, err = strconv.ParseInt(fields[fieldUntil], 10, 64); err != nil {
		return r, fmt.Errorf("until %q: want Unix seconds", fields[fieldUntil])
	}
	if channel, ok := fields[fieldChannel]; ok {
		rtc := &session.RTC{Channel: channel, Account: fields[fieldAccount]}
		if err := rtc.Role.UnmarshalText([]byte(fields[fieldRole])); err != nil {
			return r, err
		}
		if rtc.Account == "" {
			uid, err := strconv.ParseUint(fields[fieldUID], 10, 32)
			if err != nil {
				return r, fmt.Errorf("uid %q: want a number", fields[fieldUID])
			}
			rtc.UID = uint32(uid)
		}
		r.Identity.RTC = rtc
	}
	if user, ok := fields[fieldRTM]; ok {
		r.Identity.RTM = &session.RTM{UserID: user}
	}
	if user, ok := fields[fieldChat]; ok {
		r.Identity.Chat = &session.Chat{UserID: user}
	}
	return r, nil
}
