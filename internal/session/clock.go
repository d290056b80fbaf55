package session

import (
	"errors"
	"time"
)

// Moments of the wall clock. Each unit is a type of its own, so that seconds and
// milliseconds cannot be mixed up: JWTs, Agora's tokens and most of the wire count in
// UnixSec, due times in UnixMilli, and a node's clock is read in UnixNano. All are plain
// integers in JSON. 0 stands for "not known" or "none" where a field says so.
type (
	// UnixSec is a moment in seconds since the Unix epoch.
	UnixSec int64
	// UnixMilli is a moment in milliseconds since the Unix epoch.
	UnixMilli int64
	// UnixNano is a moment in nanoseconds since the Unix epoch.
	UnixNano int64
)

// MaxUnix is the last Unix second of the year 9999.
const MaxUnix UnixSec = 253402300799

// SecOf returns t in Unix seconds, rounded down.
func SecOf(t time.Time) UnixSec { return UnixSec(t.Unix()) }

// MilliOf returns t in Unix milliseconds, rounded down.
func MilliOf(t time.Time) UnixMilli { return UnixMilli(t.UnixMilli()) }

// NanoOf returns t in Unix nanoseconds.
func NanoOf(t time.Time) UnixNano { return UnixNano(t.UnixNano()) }

// Time returns s as a time.Time.
func (s UnixSec) Time() time.Time { return time.Unix(int64(s), 0) }

// Milli returns s in milliseconds.
func (s UnixSec) Milli() UnixMilli { return UnixMilli(s * 1000) }

// Add returns the second that lies d after s. Parts of a second in d do not count.
func (s UnixSec) Add(d time.Duration) UnixSec { return s + UnixSec(d/time.Second) }

// Sub returns how far s lies after t.
func (s UnixSec) Sub(t UnixSec) time.Duration { return time.Duration(s-t) * time.Second }

// Time returns m as a time.Time.
func (m UnixMilli) Time() time.Time { return time.UnixMilli(int64(m)) }

// Sec returns m in seconds, rounded down. m is not before the Unix epoch.
func (m UnixMilli) Sec() UnixSec { return UnixSec(m / 1000) }

// Add returns the millisecond that lies d after m. Parts of a millisecond in d do not
// count.
func (m UnixMilli) Add(d time.Duration) UnixMilli { return m + UnixMilli(d/time.Millisecond) }

// Sub returns how far m lies after t.
func (m UnixMilli) Sub(t UnixMilli) time.Duration { return time.Duration(m-t) * time.Millisecond }

// Time returns n as a time.Time.
func (n UnixNano) Time() time.Time { return time.Unix(0, int64(n)) }

// Sec returns n in seconds, rounded down. n is not before the Unix epoch.
func (n UnixNano) Sec() UnixSec { return UnixSec(n / UnixNano(time.Second)) }

// Milli returns n in milliseconds, rounded down. n is not before the Unix epoch.
func (n UnixNano) Milli() UnixMilli { return UnixMilli(n / UnixNano(time.Millisecond)) }

// Add returns the moment that lies d after n.
func (n UnixNano) Add(d time.Duration) UnixNano { return n + UnixNano(d) }

// Sub returns how far n lies after t.
func (n UnixNano) Sub(t UnixNano) time.Duration { return time.Duration(n - t) }

var (
	errNotUnix      = errors.New("want Unix seconds")
	errMilliseconds = errors.New("want Unix seconds; this looks like milliseconds")
)

// Check returns an error if s, which comes from outside, cannot be Unix seconds. A value
// above MaxUnix is reported as milliseconds: accepted as seconds, an expiry that was sent
// in milliseconds by mistake would never come. The error does not repeat the number.
func (s UnixSec) Check() error {
	switch {
	case s < 0:
		return errNotUnix
	case s > MaxUnix:
		return errMilliseconds
	}
	return nil
}

// Instant is one reading of both clocks of a node. Deadlines use Mono, which nobody can set
// back or forth. Expiries use Wall, which can be set, because Agora counts them in it.
type Instant struct {
	// Mono is the monotonic clock: the time since the process started.
	Mono time.Duration
	Wall UnixNano
}

// Sec returns the wall clock in seconds, rounded down.
func (i Instant) Sec() UnixSec { return i.Wall.Sec() }

// Milli returns the wall clock in milliseconds, rounded down.
func (i Instant) Milli() UnixMilli { return i.Wall.Milli() }

// Until returns the time from i to the wall-clock second s; negative if s has passed.
func (i Instant) Until(s UnixSec) time.Duration {
	return UnixNano(time.Duration(s) * time.Second).Sub(i.Wall)
}

// at converts the wall-clock second s to the monotonic clock. The result is right as long
// as the wall clock is not set.
func (i Instant) at(s UnixSec) time.Duration { return i.Mono + i.Until(s) }

// atMilli is at for milliseconds.
func (i Instant) atMilli(m UnixMilli) time.Duration {
	return i.Mono + UnixNano(time.Duration(m)*time.Millisecond).Sub(i.Wall)
}

// MilliAt converts the monotonic moment m to the wall clock. It is the inverse of atMilli.
func (i Instant) MilliAt(m time.Duration) UnixMilli { return i.Wall.Add(m - i.Mono).Milli() }
