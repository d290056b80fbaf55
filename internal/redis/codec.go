package redis

import (
	"cmp"
	"errors"
	"fmt"
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

// Letters of the fence: the session's state, as far as scripts must know it.
const (
	letterAttached  = "a"
	letterDetached  = "d"
	letterExpired   = "x" // its end is not delivered yet
	letterEnded     = "e" // on purpose; its end is not delivered yet
	letterTombstone = "b"
	letterRemoved   = "g" // never stored
)

// letter is r's state in the fence.
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

// roleLetter is an RTC role in the fence; "-" is none. wish.lua makes it upper-case, and a
// + of the -, for a wish that the owner has not acted on yet.
func roleLetter(role session.Role) string {
	if role == session.Publisher {
		return "p"
	}
	return "s"
}

// packFence is r's fieldFence. Its version is last, since a renewal changes nothing else.
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

// unpackFence reads a fieldFence into r. This is where Go looks at the format, as
// scripts/fence.lua does for the scripts.
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

// stateWords are the words of a state behind the first two: what each says, and whether
// there is anything to say.
var stateWords = [...]struct {
	tag    string
	pack   func(r *store.Record) (int64, bool)
	unpack func(r *store.Record, n int64)
}{
	{
		"h", func(r *store.Record) (int64, bool) { return int64(r.Seq - r.HeldSeq), r.HeldSeq != r.Seq },
		func(r *store.Record, n int64) { r.HeldSeq = r.Seq - uint64(n) },
	}, {
		"b", func(r *store.Record) (int64, bool) {
			return int64(r.ExpiresAt - r.HeldExpiresAt), r.HeldExpiresAt != r.ExpiresAt
		},
		func(r *store.Record, n int64) { r.HeldExpiresAt = r.ExpiresAt - session.UnixSec(n) },
	}, {
		"i", func(r *store.Record) (int64, bool) { return int64(r.ExpiresAt - r.IssuedAt), r.IssuedAt != 0 },
		func(r *store.Record, n int64) { r.IssuedAt = r.ExpiresAt - session.UnixSec(n) },
	}, {
		"a", func(r *store.Record) (int64, bool) { return int64(r.AckedAt - r.IssuedAt), r.AckedAt != 0 },
		func(r *store.Record, n int64) { r.AckedAt = r.IssuedAt + session.UnixSec(n) },
	}, {
		"v", func(r *store.Record) (int64, bool) { return int64(r.ApprovedAt - r.IssuedAt), r.ApprovedAt != 0 },
		func(r *store.Record, n int64) { r.ApprovedAt = r.IssuedAt + session.UnixSec(n) },
	}, {
		"d", func(r *store.Record) (int64, bool) {
			return int64(r.ExpiresAt.Milli() - r.DetachedAt), r.DetachedAt != 0
		},
		func(r *store.Record, n int64) { r.DetachedAt = r.ExpiresAt.Milli() - session.UnixMilli(n) },
	},
}

// packState is r's fieldState: the number of the newest bundle with the letters of the
// flags, its expiry, and then words that begin with a letter each, without those that say
// nothing. It is kept to 64 bytes.
func packState(r *store.Record) string {
	b := strconv.AppendUint(make([]byte, 0, 64), r.Seq, 10)
	for i, set := range [...]bool{
		r.Missed, r.RanOut, r.Reported, r.Fetched,
		r.Delivered.Has(store.DeliveredJoined), r.Delivered.Has(store.DeliveredUnreachable), r.Delivered.Has(store.DeliveredEnd),
	} {
		if set {
			b = append(b, "mrlfJUE"[i])
		}
	}
	b = strconv.AppendInt(append(b, ' '), int64(r.ExpiresAt), 10)
	for i := range stateWords {
		if n, ok := stateWords[i].pack(r); ok {
			b = strconv.AppendInt(append(append(b, ' '), stateWords[i].tag...), n, 10)
		}
	}
	if r.Certificate != 0 {
		b = append(append(b, " c"...), r.Certificate.String()...)
	}
	if r.Reason != "" {
		b = append(append(b, " ="...), r.Reason...)
	}
	return string(b)
}

// unpackState reads a fieldState into r.
func unpackState(text string, r *store.Record) error {
	w := words{left: strings.Split(text, " ")}
	first := w.next()
	letters := strings.TrimLeft(first, "0123456789")
	w.left = append([]string{strings.TrimSuffix(first, letters)}, w.left...)
	r.Seq, r.ExpiresAt = uint64(w.number("")), session.UnixSec(w.number(""))
	r.HeldSeq, r.HeldExpiresAt = r.Seq, r.ExpiresAt
	for _, c := range letters {
		switch c {
		case 'm':
			r.Missed = true
		case 'r':
			r.RanOut = true
		case 'l':
			r.Reported = true
		case 'f':
			r.Fetched = true
		case 'J':
			r.Delivered |= store.DeliveredJoined
		case 'U':
			r.Delivered |= store.DeliveredUnreachable
		case 'E':
			r.Delivered |= store.DeliveredEnd
		default:
			return fmt.Errorf("letters %q", letters)
		}
	}
	for i := range stateWords {
		if word := &stateWords[i]; w.has(word.tag) {
			word.unpack(r, w.number(word.tag))
		}
	}
	if w.has("c") {
		n, err := strconv.ParseUint(w.next()[1:], 16, 32)
		if err != nil {
			return errWords
		}
		r.Certificate = session.Fingerprint(n)
	}
	if w.has("=") {
		r.Reason = session.EndReason(w.next()[1:])
	}
	return w.end()
}

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
	r.Terms.TTL, r.Terms.Until = time.Duration(w.number(""))*time.Second, session.UnixSec(w.number(""))
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
		if err != nil && rtc.Account == "" || rtc.Channel == "" {
			return r, fmt.Errorf("fields %s, %s and %s: want a channel, and a uid or an account", fieldChannel, fieldUID, fieldAccount)
		}
		rtc.UID = uint32(uid)
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
	err  error // the first that there was
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
	if w.err == nil && len(w.left) > 0 {
		return errWords
	}
	return w.err
}

// has reports whether the next word begins with a tag.
func (w *words) has(tag string) bool { return len(w.left) > 0 && strings.HasPrefix(w.left[0], tag) }

// number is that of the next word behind its tag, which is there.
func (w *words) number(tag string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(w.next(), tag), 10, 64)
	if w.err == nil && (err != nil || n > maxNumber || n < -maxNumber) {
		w.err = errNumber
	}
	return n
}

// errNumber says that a word is not a number, or one that no node writes.
var errNumber = errors.New("a number that cannot be")
