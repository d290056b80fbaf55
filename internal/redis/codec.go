package redis

import (
	"fmt"
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
	fieldFormat = "v"
	// fieldFence decides who may write: "epoch proven rev letter node".
	fieldFence = "fence"
	// fieldState is what changes with each renewal: "seq expiresAt heldSeq
	// heldExpiresAt detachedAtMs flags told reason", times in Unix seconds
	// but for the one. One short field costs Redis half of what eight do.
	fieldState = "state"

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

// packState is r's fieldState.
func packState(r *store.Record) string {
	var flags int64
	for flag, set := range map[int64]bool{flagMissed: r.Missed, flagRanOut: r.RanOut, flagReported: r.Reported} {
		if set {
			flags |= flag
		}
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
	r.Seq, r.ExpiresAt, r.HeldSeq, r.HeldExpiresAt, r.DetachedAt = uint64(n[0]), n[1], uint64(n[2]), n[3], n[4]
	r.Missed, r.RanOut, r.Reported = n[5]&flagMissed != 0, n[5]&flagRanOut != 0, n[5]&flagReported != 0
	r.Told, r.Reason = store.Told(n[6]), session.EndReason(parts[7])
	return nil
}

// unpackFence reads a fieldFence into r.
func unpackFence(text string, r *store.Record) error {
	parts := strings.SplitN(text, " ", 5)
	if len(parts) < 5 {
		return fmt.Errorf("fence %q: want 5 words", text)
	}
	for i, n := range []*uint64{&r.Epoch, &r.Proven, &r.Rev} {
		var err error
		if *n, err = strconv.ParseUint(parts[i], 10, 64); err != nil {
			return fmt.Errorf("fence %q: word %d is no number", text, i+1)
		}
	}
	switch parts[3] {
	case letterAttached:
		r.State = session.Attached
	case letterDetached:
		r.State = session.Detached
	default:
		r.State = session.Ended
	}
	r.Node = parts[4]
	return nil
}

// grant is the fields and values that make a new hash.
func grant(r *store.Record) []any {
	fields := []any{
		fieldFormat, store.Format, fieldApp, r.App,
		fieldTTL, int64(r.Terms.TTL / time.Second), fieldUntil, r.Terms.Until,
	}
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

// unpack reads a whole hash.
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
