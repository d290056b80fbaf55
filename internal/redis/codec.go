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
	// version". Whatever else a release does, this field begins with its format:
	// a word of its own, not a field, so that one look tells all. Version is last,
	// since a renewal changes nothing else of it.
	fieldFence = "fence"
	// fieldDue is not in the hash: the scripts add it to their answers. It is
	// when the session next needs attention, in Unix milliseconds.
	fieldDue = "due"
	// fieldState is what changes with each renewal: "seq expiresAt heldSeq
	// heldBefore detachedAtMs flags told issuedBefore ackedBefore approvedBefore
	// reason". One short field costs Redis half of what eight do; and one of
	// over 64 bytes would double what a session takes, so that all times but
	// detachedAt are told by how many seconds before expiresAt, in Unix
	// seconds, they are, or "-" when they are not known.
	fieldState = "state"
	// A tombstone has these two, and "forget": when it may go, in Unix seconds.
	// Only the scripts look at that.

	// The grant, which does not change.
	fieldApp     = "app"
	fieldTTL     = "ttl"   // seconds
	fieldUntil   = "until" // Unix seconds
	fieldChannel = "channel"
	fieldUID     = "uid"
	fieldAccount = "account"
	fieldRTM     = "rtm"
	fieldChat    = "chat"
	fieldSubject = "subject" // none if that is empty
	fieldPublish = "publish" // "1": the role may become publisher; or none
	fieldFormat  = "format"  // of the tokens, as on the wire; none for 007
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
	flagPublisher // the RTC role
)

// letter is r's state in the fence.
func letter(r *store.Record) string {
	switch {
	case r.Removable():
		return letterGone
	case r.IsTombstone():
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
	return string(strconv.AppendUint(b, r.Version, 10))
}

// packState is r's fieldState.
func packState(r *store.Record) string {
	flags := int64(0)
	// In the order of the flags.
	for i, set := range [...]bool{r.Missed, r.RanOut, r.Reported, r.Fetched, publishes(r)} {
		if set {
			flags |= 1 << i
		}
	}
	b := make([]byte, 0, 64)
	number := func(n int64) { b = append(strconv.AppendInt(b, n, 10), ' ') }
	before := func(at session.UnixSec) {
		if at == 0 {
			b = append(b, unknown+" "...)
		} else {
			number(int64(r.ExpiresAt - at))
		}
	}
	number(int64(r.Seq))
	number(int64(r.ExpiresAt))
	number(int64(r.HeldSeq))
	before(r.HeldExpiresAt)
	number(int64(r.DetachedAt))
	number(flags)
	number(int64(r.Delivered))
	before(r.IssuedAt)
	before(r.AckedAt)
	before(r.ApprovedAt)
	return string(append(b, r.Reason...))
}

// unknown stands for a time that is not known.
const unknown = "-"

// publishes reports whether r's RTC role is publisher.
func publishes(r *store.Record) bool {
	return r.Identity.RTC != nil && r.Identity.RTC.Role == session.Publisher
}

// maxVersion bounds versions: scripts count exactly up to there.
const maxVersion = 1e15

// stateWords is how many words there are in a fieldState.
const stateWords = 11

// unpackState reads a fieldState into r. The role is for the caller to put where
// it belongs.
func unpackState(text string, r *store.Record) (session.Role, error) {
	words := strings.SplitN(text, " ", stateWords)
	if len(words) < stateWords {
		return 0, fmt.Errorf("state %q: want %d words", text, stateWords)
	}
	var n [stateWords - 1]int64
	for at := range n {
		before := at == 3 || at >= 7
		if before && words[at] == unknown {
			continue
		}
		var err error
		n[at], err = strconv.ParseInt(words[at], 10, 64)
		if before {
			n[at] = n[1] - n[at]
		}
		if err != nil || n[at] < 0 {
			return 0, fmt.Errorf("state %q: word %d is no number", text, at+1)
		}
	}
	flags, told := n[5], n[6]
	if told > math.MaxUint8 {
		return 0, fmt.Errorf("state %q: word 7 is too high", text)
	}
	r.Seq, r.HeldSeq, r.Delivered, r.Reason = uint64(n[0]), uint64(n[2]), store.Delivered(told), session.EndReason(words[10])
	r.ExpiresAt, r.HeldExpiresAt, r.DetachedAt = session.UnixSec(n[1]), session.UnixSec(n[3]), session.UnixMilli(n[4])
	r.IssuedAt, r.AckedAt, r.ApprovedAt = session.UnixSec(n[7]), session.UnixSec(n[8]), session.UnixSec(n[9])
	r.Missed, r.RanOut, r.Reported = flags&flagMissed != 0, flags&flagRanOut != 0, flags&flagReported != 0
	r.Fetched = flags&flagFetched != 0
	if flags&flagPublisher != 0 {
		return session.Publisher, nil
	}
	return session.Subscriber, nil
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
	}{{&format, parts[0]}, {&r.Epoch, parts[1]}, {&r.Proven, parts[2]}, {&r.Version, text[end+1:]}} {
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
	fields := []any{fieldApp, r.App, fieldTTL, int64(r.Terms.TTL / time.Second), fieldUntil, int64(r.Terms.Until)}
	if rtc := r.Identity.RTC; rtc != nil {
		fields = append(fields, fieldChannel, rtc.Channel)
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
	if r.Subject != "" {
		fields = append(fields, fieldSubject, r.Subject)
	}
	if r.Terms.MayPublish {
		fields = append(fields, fieldPublish, "1")
	}
	if r.Terms.Format != session.Format007 {
		fields = append(fields, fieldFormat, r.Terms.Format.String())
	}
	return fields
}

// unpack reads a whole hash, with its fieldDue.
func unpack(id string, fields map[string]string) (store.Record, error) {
	var r store.Record
	r.Session = id
	r.App, r.Subject, r.Terms.MayPublish = fields[fieldApp], fields[fieldSubject], fields[fieldPublish] == "1"
	if err := unpackFence(fields[fieldFence], &r); err != nil {
		return r, err
	}
	role, err := unpackState(fields[fieldState], &r)
	if err != nil {
		return r, err
	}
	if r.State != session.Ended {
		r.Reason = "" // it had expired, and its client came back
	}
	due, err := strconv.ParseInt(fields[fieldDue], 10, 64)
	if err != nil {
		return r, fmt.Errorf("due %q: want Unix milliseconds", fields[fieldDue])
	}
	r.Due = session.UnixMilli(due)
	ttl, err := strconv.ParseInt(fields[fieldTTL], 10, 32)
	if err != nil {
		return r, fmt.Errorf("ttl %q: want seconds", fields[fieldTTL])
	}
	r.Terms.TTL = time.Duration(ttl) * time.Second
	until, err := strconv.ParseInt(fields[fieldUntil], 10, 64)
	if err != nil {
		return r, fmt.Errorf("until %q: want Unix seconds", fields[fieldUntil])
	}
	r.Terms.Until = session.UnixSec(until)
	if format, ok := fields[fieldFormat]; ok {
		if err := r.Terms.Format.UnmarshalText([]byte(format)); err != nil {
			return r, fmt.Errorf("format %q: not known", format)
		}
	}
	if channel, ok := fields[fieldChannel]; ok {
		rtc := &session.RTC{Channel: channel, Account: fields[fieldAccount], Role: role}
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
	if r.Version > maxVersion {
		return r, fmt.Errorf("fence: version %d: too high", r.Version)
	}
	return r, r.Check()
}
