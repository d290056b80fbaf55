package redis

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Fields of a session's hash, which docs/understand/redis.md describes. The fence decides who may
// write the session; scripts/fence.lua reads it. The state holds the values that change with each
// renewal. Scripts use only the last word of the state, which is the reason of the session's end.
// The other fields hold the session's grant. Only the terms of a grant can change.
//
// To save memory, names are short, and the values that change with each renewal share one
// field: Redis stores each field's name, and stores a hash compactly while no value is longer
// than 64 bytes.
const (
	fieldFence   = "f"
	fieldState   = "s"
	fieldGrant   = "g"
	fieldChannel = "c"
	fieldUID     = "u"
	fieldAccount = "a"
	fieldRTM     = "m"
	fieldChat    = "h"
	fieldSubject = "j"

	// fieldDue is the session's due time in Unix milliseconds. It is not in the hash: the
	// caller or a script adds it.
	fieldDue = "due"
)

// appPrefix returns the first characters of an App ID. A record contains only these characters,
// so they must be different for all App IDs of a service (see appsByPrefix).
func appPrefix(app string) string { return app[:min(len(app), appPrefixLength)] }

const appPrefixLength = 8

// mayPublish is the word of a fieldGrant that allows the publisher role.
const mayPublish = "p"

// grant returns the names and values of the fields that hold r's grant.
func grant(r *store.Record) []any {
	granted := fmt.Sprintf("%s %d %d", appPrefix(r.App), r.Terms.TTL/time.Second, r.Terms.Until)
	if r.Terms.MayPublish {
		granted += " " + mayPublish
	}
	if r.Terms.Format != session.Format007 {
		granted += " " + r.Terms.Format.String()
	}
	fields := []any{fieldGrant, granted}
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
	return fields
}

func unpackGrant(text string, r *store.Record) error {
	w := words{left: strings.Split(text, " ")}
	r.App = w.next()
	// The TTL is bounded, so that its conversion to a time.Duration does not overflow. A TTL at
	// either bound is invalid: Record.Check refuses it later.
	ttl := max(0, min(w.number(""), math.MaxInt32))
	r.Terms.TTL, r.Terms.Until = time.Duration(ttl)*time.Second, session.UnixSec(w.number(""))
	if r.Terms.MayPublish = len(w.left) > 0 && w.left[0] == mayPublish; r.Terms.MayPublish {
		w.next()
	}
	if len(w.left) > 0 && w.err == nil {
		w.err = r.Terms.Format.UnmarshalText([]byte(w.next()))
	}
	if len(r.App) > appPrefixLength {
		return errWords
	}
	return w.end()
}

// unpack makes a record from the fields of a session's hash and fieldDue. The error says why
// the record is unreadable.
func unpack(id string, fields map[string]string) (r store.Record, err error) {
	r.Session, r.Subject = id, fields[fieldSubject]
	for _, part := range []struct {
		field string
		read  func(text string, r *store.Record) error
	}{{fieldFence, unpackFence}, {fieldGrant, unpackGrant}, {fieldState, unpackState}, {fieldDue, unpackDue}} {
		if err := part.read(fields[part.field], &r); err != nil {
			return r, fmt.Errorf("field %s, %.80q: %w", part.field, fields[part.field], err)
		}
	}
	if r.State != session.Ended {
		// An open session can have a reason from an earlier expiry, after which its client resumed.
		r.Reason = ""
	}
	if rtc := r.Identity.RTC; rtc != nil {
		rtc.Channel, rtc.Account = fields[fieldChannel], fields[fieldAccount]
		uid, err := strconv.ParseUint(fields[fieldUID], 10, 32)
		switch {
		case rtc.Channel == "" || rtc.Account == "" && err != nil:
			return r, fmt.Errorf("fields %s, %s and %s: want a channel, and a uid or an account", fieldChannel, fieldUID, fieldAccount)
		case rtc.Account == "":
			rtc.UID = uint32(uid)
		}
	}
	if user, ok := fields[fieldRTM]; ok {
		r.Identity.RTM = &session.RTM{UserID: user}
	}
	if user, ok := fields[fieldChat]; ok {
		r.Identity.Chat = &session.Chat{UserID: user}
	}
	return r, r.Check()
}

func unpackDue(text string, r *store.Record) error {
	due, err := strconv.ParseInt(text, 10, 64)
	r.Due = session.UnixMilli(due)
	return err //nolint:wrapcheck // the caller names the field
}

// words reads the words of a field, one after the other.
type words struct {
	left []string
	err  error
}

// errWords says that a field does not have the form that docs/understand/redis.md describes.
var errWords = errors.New("not in the form that docs/understand/redis.md describes")

// maxNumber bounds the numbers of a record, so that their sums do not overflow.
const maxNumber = 1 << 53

// next returns the next word. If there is none, it sets err and returns "".
func (w *words) next() (word string) {
	if len(w.left) == 0 {
		w.err = errWords
		return ""
	}
	word, w.left = w.left[0], w.left[1:]
	return word
}

// end returns the first error, or errWords if there are words left.
func (w *words) end() error {
	if len(w.left) > 0 {
		return cmp.Or(w.err, errWords)
	}
	return w.err
}

// has reports whether the next word begins with a tag.
func (w *words) has(tag string) bool { return len(w.left) > 0 && strings.HasPrefix(w.left[0], tag) }

// number returns the number that follows the tag in the next word. The caller has checked
// that the word begins with the tag.
func (w *words) number(tag string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(w.next(), tag), 10, 64)
	if err != nil || n > maxNumber || n < -maxNumber {
		w.err = cmp.Or(w.err, errNumber)
	}
	return n
}

// errNumber says that a word is not a number, or is a number that no node writes.
var errNumber = errors.New("not a number, or out of range")
