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

// Fields of a session's hash, which docs/redis.md explains. Names are short, and numbers
// that change with each renewal share a field, because Redis keeps name and value of each
// field. Redis stores a hash compactly while no value of it is over 64 bytes.
const (
	fieldFence   = "f" // decides who may write; scripts/fence.lua reads it
	fieldState   = "s" // what changes with each renewal; scripts do not look into it, but for wish.lua
	fieldGrant   = "g" // with the following, what the session was granted: it does not change
	fieldChannel = "c"
	fieldUID     = "u"
	fieldAccount = "a"
	fieldRTM     = "m"
	fieldChat    = "h"
	fieldSubject = "j"

	// fieldDue is not in the hash: the caller or a script adds it. It is when the session
	// next needs attention, in Unix milliseconds.
	fieldDue = "due"
)

// appPrefix is what a record holds of an App ID.
func appPrefix(app string) string { return app[:min(len(app), appPrefixLength)] }

const appPrefixLength = 8

// mayPublish is the word of a grant that says so.
const mayPublish = "p"

// grant is the fields and values that make a new hash.
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

// unpackGrant reads a fieldGrant into r.
func unpackGrant(text string, r *store.Record) error {
	w := words{left: strings.Split(text, " ")}
	r.App = w.next()
	ttl := max(0, min(w.number(""), math.MaxInt32)) // neither is one that Check lets through
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

// unpack reads a whole hash, with its fieldDue. Its error says what makes the record
// unreadable.
func unpack(id string, fields map[string]string) (r store.Record, err error) {
	r.Session, r.Subject = id, fields[fieldSubject]
	for _, part := range []struct {
		field string
		read  func(text string, r *store.Record) error
	}{{fieldFence, unpackFence}, {fieldState, unpackState}, {fieldGrant, unpackGrant}, {fieldDue, unpackDue}} {
		if err := part.read(fields[part.field], &r); err != nil {
			return r, fmt.Errorf("field %s, %.80q: %w", part.field, fields[part.field], err)
		}
	}
	if r.State != session.Ended {
		r.Reason = "" // it had expired, and its client came back
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

// words are those of a field that are still to be read.
type words struct {
	left []string
	err  error // the first one
}

// errWords says that a field is not of its form.
var errWords = errors.New("not the words that docs/redis.md says")

// maxNumber bounds the numbers of a record, so that sums of them do not overflow.
const maxNumber = 1 << 53

// next is the next word, or an error and nothing.
func (w *words) next() (word string) {
	if len(w.left) == 0 {
		w.err = errWords
		return ""
	}
	word, w.left = w.left[0], w.left[1:]
	return word
}

// end is the first error, also if there are words left.
func (w *words) end() error {
	if len(w.left) > 0 {
		return cmp.Or(w.err, errWords)
	}
	return w.err
}

// has reports whether the next word begins with a tag.
func (w *words) has(tag string) bool { return len(w.left) > 0 && strings.HasPrefix(w.left[0], tag) }

// number is that of the next word behind its tag, which is there.
func (w *words) number(tag string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(w.next(), tag), 10, 64)
	if err != nil || n > maxNumber || n < -maxNumber {
		w.err = cmp.Or(w.err, errNumber)
	}
	return n
}

// errNumber says that a word is not a number, or one that no node writes.
var errNumber = errors.New("a number that cannot be")
