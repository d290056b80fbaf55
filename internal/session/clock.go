package session

import (
	"errors"
	"time"
)

// MaxUnix is the last Unix second of the year 9999.
const MaxUnix = 253402300799

var (
	errNotUnix      = errors.New("want Unix seconds")
	errMilliseconds = errors.New("want Unix seconds; this looks like milliseconds")
)

// CheckUnix refuses a number from outside that cannot be a moment in Unix seconds. One
// above MaxUnix is taken for milliseconds: as seconds it would mean "never", and an end
// that was set by mistake in milliseconds would be none. The error does not repeat the
// number.
func CheckUnix(seconds int64) error {
	switch {
	case seconds < 0:
		return errNotUnix
	case seconds > MaxUnix:
		return errMilliseconds
	}
	return nil
}

// Instant is one reading of both of a node's clocks. The two are never mixed
// up, because they answer different questions: Mono says when to act, and
// cannot be set back or forth; Unix is what Agora counts expiries in, and can.
type Instant struct {
	// Mono is the monotonic clock, since an origin that is fixed for the
	// life of the process and means nothing outside it.
	Mono time.Duration
	// Wall is the wall clock, since the Unix epoch.
	Wall time.Duration
}

// Unix is the wall clock in whole Unix seconds, rounded down.
func (i Instant) Unix() int64 { return int64(i.Wall / time.Second) }

// Until is how far ahead of i the wall-clock second unix lies, in time that
// the monotonic clock will count; negative when it has passed.
func (i Instant) Until(unix int64) time.Duration {
	return time.Duration(unix)*time.Second - i.Wall
}

// at is the monotonic moment at which the wall clock, left alone, will show
// the second unix.
func (i Instant) at(unix int64) time.Duration { return i.Mono + i.Until(unix) }

// wallAt is what the wall clock, left alone, shows at the monotonic moment m.
func (i Instant) wallAt(m time.Duration) time.Duration { return i.Wall + (m - i.Mono) }

// WallMs is wallAt in Unix milliseconds.
func (i Instant) WallMs(m time.Duration) int64 { return i.wallAt(m).Milliseconds() }
