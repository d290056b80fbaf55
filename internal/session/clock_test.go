package session

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestUnixSecCheck(t *testing.T) {
	for seconds, want := range map[UnixSec]string{
		0: "", 1800000000: "", MaxUnix: "",
		-1: "want Unix seconds", math.MinInt64: "want Unix seconds",
		MaxUnix + 1:   "want Unix seconds; this looks like milliseconds",
		1800000000000: "want Unix seconds; this looks like milliseconds",
		math.MaxInt64: "want Unix seconds; this looks like milliseconds",
	} {
		have := ""
		if err := seconds.Check(); err != nil {
			have = err.Error()
		}
		check(t, have == want, "%d: have %q, want %q", seconds, have, want)
	}
}

// An expiry in milliseconds is refused, since read as seconds it would claim tokens of the
// maximum lifetime.
func TestResumeExpiryInMilliseconds(t *testing.T) {
	for _, expiresAt := range []UnixSec{1800000000000, -1} {
		err := Resume{ExpiresAt: expiresAt}.Check()
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Code != CodeBadRequest || !strings.HasPrefix(refused.Message, "expiresAt: want Unix seconds") {
			t.Errorf("%d: %v", expiresAt, err)
		}
	}
	if err := (Resume{ExpiresAt: 1800000000}).Check(); err != nil {
		t.Error(err)
	}
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
		check(t, got[0] == got[1], "%s: %d, want %d", name, got[0], got[1])
	}
}
