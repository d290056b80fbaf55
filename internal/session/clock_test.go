package session

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestCheckUnix(t *testing.T) {
	for seconds, want := range map[int64]string{
		0: "", 1800000000: "", MaxUnix: "",
		-1: "want Unix seconds", math.MinInt64: "want Unix seconds",
		MaxUnix + 1:   "want Unix seconds; this looks like milliseconds",
		1800000000000: "want Unix seconds; this looks like milliseconds",
		math.MaxInt64: "want Unix seconds; this looks like milliseconds",
	} {
		have := ""
		if err := CheckUnix(seconds); err != nil {
			have = err.Error()
		}
		if have != want {
			t.Errorf("%d: have %q, want %q", seconds, have, want)
		}
	}
}

// TestResumeExpiryInMilliseconds: taken as seconds it would say that the client's tokens
// last as long as any can.
func TestResumeExpiryInMilliseconds(t *testing.T) {
	for _, expiresAt := range []int64{1800000000000, -1} {
		err := Resume{ExpiresAt: expiresAt}.Check()
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Code != CodeBadRequest || !strings.HasPrefix(refused.Message, "expiresAt: want Unix seconds") {
			t.Errorf("%d: %v", expiresAt, err)
		}
	}
	if err := (Resume{ExpiresAt: 1800000000}).Check(); err != nil {
		t.Error(err)
	}
}
