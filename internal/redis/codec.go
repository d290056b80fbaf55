package redis

import (
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

// Letters of the RTC role in the fence. wish.lua makes them upper-case, and a + of the -,
// for a wish that the owner has not acted on yet.
const (
	rolePublisher  = "p"
	roleSubscriber = "s"
	roleNone       = "-"
)

// roleLetter is r's role in the fence.
func roleLetter(r *store.Record) string {
	letter := roleNone
	if rtc := r.Identity.RTC; rtc != nil {
		letter = roleSubscriber
		if rtc.Role == session.Publisher {
			letter = rolePublisher
		}
	}
	return letter
}

// packFence is r's fieldFence. Its version is last, since a renewal changes nothing else.
func packFence(r *store.Record) string {
	b := make([]byte, 0, 64)
	number := func(n uint64, next string) { b = append(strconv.AppendUint(b, n, 10), next...) }
	number(store.Format, " ")
	number(r.Epoch, " ")
	number(r.Proven, " "+letter(r)+" "+store.NodeID(r.Node)+" "+roleLetter(r)+" ")
	number(uint64(r.WishVersion), " ")
	number(r.Version, "")
	return string(b)
}

// unpackFence reads a fieldFence into r, and returns the RTC role.
func unpackFence(text string, r *store.Record) (role session.Role, err error) {
	words := strings.Split(text, " ")
	if len(words) != 8 || words[4] == "" {
		return 0, fmt.Errorf("fence %q: want 8 words", text)
	}
	if words[0] != strconv.Itoa(store.Format) {
		return 0, fmt.Errorf("fence %q: format %s, and this release reads %d", text, words[0], store.Format)
	}
	var numbers [4]uint64
	for i, at := range []int{1, 2, 6, 7} {
		if numbers[i], err = strconv.ParseUint(words[at], 10, 64); err != nil || numbers[i] > maxNumber {
			return 0, fmt.Errorf("fence %q: word %d: want a number up to %d", text, at+1, uint64(maxNumber))
		}
	}
	r.Epoch, r.Proven, r.WishVersion, r.Version = numbers[0], numbers[1], session.UnixMilli(numbers[2]), numbers[3]
	r.Node = words[4]
	switch words[3] {
	case letterAttached:
		r.State = session.Attached
	case letterDetached:
		r.State = session.Detached
	case letterExpired, letterEnded, letterTombstone:
		r.State = session.Ended
	default:
		return 0, fmt.Errorf("fence %q: unknown state", text)
	}
	lower := strings.ToLower(strings.Replace(words[5], "+", "-", 1))
	r.WishPending = lower != words[5]
	switch lower {
	case rolePublisher:
		return session.Publisher, nil
	case roleSubscriber, roleNone:
		return session.Subscriber, nil
	}
	return 0, fmt.Errorf("fence %q: unknown role", text)
}

const (
	// maxNumber bounds the numbers of a fence: scripts count exactly up to there.
	maxNumber = 1e15 - 1
	// maxStateNumber bounds those of a state, so that sums of them cannot overflow.
	maxStateNumber = 1 << 53
)

// packState is r's fieldState: the number of the newest bundle with the letters of the
// flags, its expiry, and then words that begin with a letter each, without those that say
// nothing. It is kept to 64 bytes.
func packState(r *store.Record) string {
	b := make([]byte, 0, 64)
	word := func(tag string, n int64) {
		b = strconv.AppendInt(append(b, tag...), n, 10)
	}
	word("", int64(r.Seq))
	for i, set := range [...]bool{
		r.Missed, r.RanOut, r.Reported, r.Fetched,
		r.Delivered.Has(store.DeliveredJoined), r.Delivered.Has(store.DeliveredUnreachable), r.Delivered.Has(store.DeliveredEnd),
	} {
		if set {
			b = append(b, "mrlfJUE"[i])
		}
	}
	word(" ", int64(r.ExpiresAt))
	if r.HeldSeq != r.Seq {
		word(" h", int64(r.Seq-r.HeldSeq))
	}
	if r.HeldExpiresAt != r.ExpiresAt {
		word(" b", int64(r.ExpiresAt-r.HeldExpiresAt))
	}
	if r.IssuedAt != 0 {
		word(" i", int64(r.ExpiresAt-r.IssuedAt))
	}
	if r.AckedAt != 0 {
		word(" a", int64(r.AckedAt-r.IssuedAt))
	}
	if r.ApprovedAt != 0 {
		word(" v", int64(r.ApprovedAt-r.IssuedAt))
	}
	if r.DetachedAt != 0 {
		word(" d", int64(r.ExpiresAt.Milli()-r.DetachedAt))
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
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return fmt.Errorf("state %q: want two numbers at least", text)
	}
	letters := strings.TrimLeft(words[0], "0123456789")
	seq, err := number(strings.TrimSuffix(words[0], letters))
	if err == nil {
		err = unpackFlags(letters, r)
	}
	if err != nil {
		return fmt.Errorf("state %q: word 1: %w", text, err)
	}
	expiresAt, err := number(words[1])
	if err != nil {
		return fmt.Errorf("state %q: word 2: %w", text, err)
	}
	r.Seq, r.ExpiresAt = uint64(seq), session.UnixSec(expiresAt)
	r.HeldSeq, r.HeldExpiresAt = r.Seq, r.ExpiresAt
	for _, word := range words[2:] {
		if word == "" {
			return fmt.Errorf("state %q: an empty word", text)
		}
		if err := unpackWord(word[0], word[1:], r); err != nil {
			return fmt.Errorf("state %q: word %q: %w", text, word, err)
		}
	}
	return nil
}

// unpackWord reads one word of a state.
func unpackWord(tag byte, text string, r *store.Record) (err error) {
	switch tag {
	case 'c':
		n, err := strconv.ParseUint(text, 16, 32)
		r.Certificate = session.Fingerprint(n)
		return err //nolint:wrapcheck // the caller names the word
	case '=':
		r.Reason = session.EndReason(text)
		return nil
	}
	n, err := number(text)
	if err != nil {
		return err
	}
	seconds := session.UnixSec(n)
	switch tag {
	case 'h':
		r.HeldSeq = r.Seq - uint64(n)
	case 'b':
		r.HeldExpiresAt = r.ExpiresAt - seconds
	case 'i':
		r.IssuedAt = r.ExpiresAt - seconds
	case 'a':
		r.AckedAt = r.IssuedAt + seconds
	case 'v':
		r.ApprovedAt = r.IssuedAt + seconds
	case 'd':
		r.DetachedAt = r.ExpiresAt.Milli() - session.UnixMilli(n)
	default:
		return errUnknown
	}
	return nil
}

func unpackFlags(letters string, r *store.Record) error {
	for _, c := range []byte(letters) {
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
			return errUnknown
		}
	}
	return nil
}

var (
	errUnknown  = errors.New("not known")
	errNoNumber = errors.New("not a number that can be")
)

// number reads a number of a state, which may be negative.
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxStateNumber || n < -maxStateNumber {
		return 0, errNoNumber
	}
	return n, nil
}

// appPrefixLength is how much of an App ID a record holds.
const appPrefixLength = 8

// appPrefix is what a record holds of an App ID.
func appPrefix(app string) string { return app[:min(len(app), appPrefixLength)] }

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
	words := strings.Split(text, " ")
	if len(words) < 3 {
		return fmt.Errorf("grant %q: want 3 words at least", text)
	}
	if len(words[0]) > appPrefixLength {
		return fmt.Errorf("grant %q: word 1: want %d characters of an App ID", text, appPrefixLength)
	}
	ttl, err := strconv.ParseInt(words[1], 10, 32)
	if err != nil {
		return fmt.Errorf("grant %q: word 2: want seconds", text)
	}
	until, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return fmt.Errorf("grant %q: word 3: want Unix seconds", text)
	}
	r.App, r.Terms.TTL, r.Terms.Until = words[0], time.Duration(ttl)*time.Second, session.UnixSec(until)
	for _, word := range words[3:] {
		if word == mayPublish {
			r.Terms.MayPublish = true
		} else if err := r.Terms.Format.UnmarshalText([]byte(word)); err != nil {
			return fmt.Errorf("grant %q: word %q: %w", text, word, errUnknown)
		}
	}
	return nil
}

// unpack reads a whole hash, with its fieldDue. Its error says what makes the record
// unreadable.
func unpack(id string, fields map[string]string) (r store.Record, err error) {
	r.Session = id
	role, err := unpackFence(fields[fieldFence], &r)
	if err != nil {
		return r, err
	}
	if err := unpackState(fields[fieldState], &r); err != nil {
		return r, err
	}
	if r.State != session.Ended {
		r.Reason = "" // it had expired, and its client came back
	}
	if err := unpackGrant(fields[fieldGrant], &r); err != nil {
		return r, err
	}
	due, err := strconv.ParseInt(fields[fieldDue], 10, 64)
	if err != nil {
		return r, fmt.Errorf("due %q: want Unix milliseconds", fields[fieldDue])
	}
	r.Due, r.Subject = session.UnixMilli(due), fields[fieldSubject]
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
	return r, r.Check()
}
