package session

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestUnixSecCheck(t *testing.T) {
	for seconds, want := range map[UnixSec]error{
		0: nil, MaxUnix: nil, -1: errNotUnix, math.MinInt64: errNotUnix, MaxUnix + 1: errMilliseconds, math.MaxInt64: errMilliseconds,
	} {
		equal(t, fmt.Sprint(int64(seconds)), seconds.Check(), want)
	}
}

// An expiry in milliseconds is refused. If it were read as seconds, the client would seem to have
// tokens of the maximum lifetime.
func TestResumeExpiryInMilliseconds(t *testing.T) {
	wantCode(t, Resume{ExpiresAt: 1800000000000}.Check(), CodeBadRequest)
	wantCode(t, Resume{ExpiresAt: 1800000000}.Check(), "")
}

// A conversion to a coarser unit never returns a later time.
func TestUnitsRoundDown(t *testing.T) {
	at := time.Unix(1_800_000_000, 999_999_999)
	for name, got := range map[string][2]int64{
		"SecOf":              {int64(SecOf(at)), 1_800_000_000},
		"MilliOf":            {int64(MilliOf(at)), 1_800_000_000_999},
		"UnixNano.Sec":       {int64(NanoOf(at).Sec()), 1_800_000_000},
		"UnixNano.Milli":     {int64(NanoOf(at).Milli()), 1_800_000_000_999},
		"UnixMilli.Sec":      {int64(MilliOf(at).Sec()), 1_800_000_000},
		"UnixSec.Milli":      {int64(SecOf(at).Milli()), 1_800_000_000_000},
		"UnixSec.Add":        {int64(SecOf(at).Add(1999 * time.Millisecond)), 1_800_000_001},
		"UnixMilli.Add":      {int64(MilliOf(at).Add(1999 * time.Microsecond)), 1_800_000_001_000},
		"Instant.MilliAt":    {int64(Instant{Mono: time.Minute, Wall: NanoOf(at)}.MilliAt(time.Minute + time.Microsecond)), 1_800_000_001_000},
		"UnixNano.Time":      {NanoOf(at).Time().UnixNano(), at.UnixNano()},
		"UnixMilli.Sub":      {int64(MilliOf(at).Sub(SecOf(at).Milli())), int64(999 * time.Millisecond)},
		"UnixSec.Sub":        {int64(SecOf(at).Sub(1_799_999_999)), int64(time.Second)},
		"UnixNano.Sub, .Add": {int64(NanoOf(at).Add(time.Hour).Sub(NanoOf(at))), int64(time.Hour)},
	} {
		equal(t, name, got[0], got[1])
	}
}
