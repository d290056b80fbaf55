package redis

import (
	"cmp"
	"strconv"
	"strings"

	"refresher/internal/session"
	"refresher/internal/store"
)

// stateTime describes how a time is stored in a state: as the number of seconds from the time `at`
// to the time `from`, after the tag. The state has no such word if `at` equals the default.
type stateTime struct {
	tag      string
	at, from *session.UnixSec
	without  session.UnixSec // the default
}

// stateTimes returns the times of a state in the order in which they must be read: a time is
// stored relative to one that is read before it.
func stateTimes(r *store.Record) [4]stateTime {
	return [...]stateTime{
		{"b", &r.HeldExpiresAt, &r.ExpiresAt, r.ExpiresAt},
		{"i", &r.IssuedAt, &r.ExpiresAt, r.ExpiresAt.Add(-r.Terms.TTL)},
		{"a", &r.AckedAt, &r.IssuedAt, 0},
		{"v", &r.ApprovedAt, &r.IssuedAt, 0},
	}
}

const (
	flagLetters      = "mrlf" // one letter for each flag of stateFlags
	deliveredLetters = "JUE"  // one letter for each bit of store.Delivered
)

func stateFlags(r *store.Record) [len(flagLetters)]*bool {
	return [...]*bool{&r.Unreachable, &r.TokensExpired, &r.ExpiryReported, &r.Fetched}
}

// packState returns r's fieldState: the seq of the newest bundle of tokens followed by the letters
// of the flags, the bundle's expiry, and then words that each begin with a tag. Words with the
// default value are left out, so that the text has at most 64 bytes.
func packState(r *store.Record) string {
	b := strconv.AppendUint(make([]byte, 0, 64), r.Seq, 10)
	for i, set := range stateFlags(r) {
		if *set {
			b = append(b, flagLetters[i])
		}
	}
	for i := range deliveredLetters {
		if r.Delivered&(1<<i) != 0 {
			b = append(b, deliveredLetters[i])
		}
	}
	word := func(tag string, n int64) { b = strconv.AppendInt(append(append(b, ' '), tag...), n, 10) }
	word("", int64(r.ExpiresAt))
	if r.HeldSeq != r.Seq {
		word("h", int64(r.Seq-r.HeldSeq))
	}
	for _, t := range stateTimes(r) {
		if *t.at != t.without {
			word(t.tag, int64(*t.from-*t.at))
		}
	}
	if r.DetachedAt != 0 {
		word("d", int64(r.ExpiresAt.Milli()-r.DetachedAt))
	}
	if r.Certificate != 0 {
		b = append(append(b, " c"...), r.Certificate.String()...)
	}
	if r.Reason != "" {
		b = append(append(b, " ="...), r.Reason...)
	}
	return string(b)
}

// unpackState reads a fieldState into r. The caller must have read the hash's grant, if it has
// one: the default of IssuedAt depends on the grant's TTL.
func unpackState(text string, r *store.Record) error {
	first, rest, _ := strings.Cut(text, " ")
	letters := strings.TrimLeft(first, "0123456789")
	for _, c := range []byte(letters) {
		flag, delivered := strings.IndexByte(flagLetters, c), strings.IndexByte(deliveredLetters, c)
		switch {
		case flag >= 0:
			*stateFlags(r)[flag] = true
		case delivered >= 0:
			r.Delivered |= 1 << delivered
		default:
			return errWords
		}
	}
	w := words{left: strings.Split(rest, " ")}
	seq, err := strconv.ParseUint(strings.TrimSuffix(first, letters), 10, 64)
	r.Seq, r.HeldSeq, w.err = seq, seq, err
	r.ExpiresAt = session.UnixSec(w.number(""))
	r.HeldExpiresAt = r.ExpiresAt
	if w.has("h") {
		r.HeldSeq -= uint64(w.number("h"))
	}
	for _, t := range stateTimes(r) {
		if *t.at = t.without; w.has(t.tag) {
			*t.at = *t.from - session.UnixSec(w.number(t.tag))
		}
	}
	if w.has("d") {
		r.DetachedAt = r.ExpiresAt.Milli() - session.UnixMilli(w.number("d"))
	}
	if w.has("c") {
		n, err := strconv.ParseUint(w.next()[1:], 16, 32)
		r.Certificate, w.err = session.Fingerprint(n), cmp.Or(w.err, err)
	}
	if w.has("=") {
		r.Reason = session.EndReason(w.next()[1:])
	}
	return w.end()
}
