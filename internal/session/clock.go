package session

import (
	"errors"
	"time"
)

// Points in time on the wall clock. Each unit has its own type, so that the compiler rejects a mix
// of seconds and milliseconds. JWTs, Agora's tokens and most of the protocol use UnixSec; due times
// in the store use UnixMilli; the clock of a node is read in UnixNano. In JSON all are plain
// integers. A field's comment says if 0 stands for "not known" or "none".
type (
	// UnixSec is a time in seconds since the Unix epoch.
	UnixSec int64
	// UnixMilli is a time in milliseconds since the Unix epoch.
	UnixMilli int64
	// UnixNano is a time in nanoseconds since the Unix epoch.
	UnixNano int64
)

// MaxUnix is the last second of the year 9999. Check refuses later times, since they are probably
// in milliseconds.
const MaxUnix UnixSec = 253402300799

// SecOf returns t in Unix seconds, rounded down.
func SecOf(t time.Time) UnixSec { return UnixSec(t.Unix()) }

// MilliOf returns t in Unix milliseconds, rounded down.
func MilliOf(t time.Time) UnixMilli { return UnixMilli(t.UnixMilli()) }

// NanoOf returns t in Unix nanoseconds.
func NanoOf(t time.Time) UnixNano { return UnixNano(t.UnixNano()) }

// Time returns s as a time.Time.
func (s UnixSec) Time() time.Time { return time.Unix(int64(s), 0) }

// Milli converts s to milliseconds.
func (s UnixSec) Milli() UnixMilli { return UnixMilli(s * 1000) }

// Add returns s plus d. Fractions of a second in d are dropped.
func (s UnixSec) Add(d time.Duration) UnixSec { return s + UnixSec(d/time.Second) }

// Sub returns s minus t.
func (s UnixSec) Sub(t UnixSec) time.Duration { return time.Duration(s-t) * time.Second }

// Time returns m as a time.Time.
func (m UnixMilli) Time() time.Time { return time.UnixMilli(int64(m)) }

// Sec converts m to seconds, rounded down. m must not be before the Unix epoch.
func (m UnixMilli) Sec() UnixSec { return UnixSec(m / 1000) }

// Add returns m plus d. Fractions of a millisecond in d are dropped.
func (m UnixMilli) Add(d time.Duration) UnixMilli { return m + UnixMilli(d/time.Millisecond) }

// Sub returns m minus t.
func (m UnixMilli) Sub(t UnixMilli) time.Duration { return time.Duration(m-t) * time.Millisecond }

// Time returns n as a time.Time.
func (n UnixNano) Time() time.Time { return time.Unix(0, int64(n)) }

// Sec converts n to seconds, rounded down. n must not be before the Unix epoch.
func (n UnixNano) Sec() UnixSec { return UnixSec(n / UnixNano(time.Second)) }

// Milli converts n to milliseconds, rounded down. n must not be before the Unix epoch.
func (n UnixNano) Milli() UnixMilli { return UnixMilli(n / UnixNano(time.Millisecond)) }

// Add returns n plus d.
func (n UnixNano) Add(d time.Duration) UnixNano { return n + UnixNano(d) }

// Sub returns n minus t.
func (n UnixNano) Sub(t UnixNano) time.Duration { return time.Duration(n - t) }

var (
	errNotUnix      = errors.New("want Unix seconds")
	errMilliseconds = errors.New("want Unix seconds; this looks like milliseconds")
)

// Check returns an error if s, which a client or your back end sent, cannot be in Unix seconds. For
// a value above MaxUnix the error says that the value looks like milliseconds. Read as seconds,
// such a value would be thousands of years ahead. The error does not repeat the number.
func (s UnixSec) Check() error {
	switch {
	case s < 0:
		return errNotUnix
	case s > MaxUnix:
		return errMilliseconds
	}
	return nil
}

// Instant is one reading of a node's two clocks. Deadlines use Mono, so that setting the wall clock
// does not move them. Expiries use Wall, because Agora compares them with the wall clock.
type Instant struct {
	// Mono is the monotonic clock: the time since the process started.
	Mono time.Duration
	Wall UnixNano
}

// Sec returns the wall clock in seconds, rounded down.
func (i Instant) Sec() UnixSec { return i.Wall.Sec() }

// Milli returns the wall clock in milliseconds, rounded down.
func (i Instant) Milli() UnixMilli { return i.Wall.Milli() }

// Until returns the time from i to the wall-clock second s; it is negative if s has passed.
func (i Instant) Until(s UnixSec) time.Duration {
	return UnixNano(time.Duration(s) * time.Second).Sub(i.Wall)
}

// at converts the wall-clock second s to the monotonic clock. The result is wrong once someone has
// set the wall clock.
func (i Instant) at(s UnixSec) time.Duration { return i.Mono + i.Until(s) }

// atMilli converts the wall-clock millisecond m to the monotonic clock, like at.
func (i Instant) atMilli(m UnixMilli) time.Duration {
	return i.Mono + UnixNano(time.Duration(m)*time.Millisecond).Sub(i.Wall)
}

// MilliAt converts m, a time on the monotonic clock, to the wall clock. It is the inverse of
// atMilli.
func (i Instant) MilliAt(m time.Duration) UnixMilli { return i.Wall.Add(m - i.Mono).Milli() }
