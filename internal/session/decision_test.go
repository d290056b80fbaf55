package session_test

import (
	"errors"
	"testing"
	"time"

	"refresher/internal/session"
)

func TestADecisionsErrorSaysWhyToTheCaller(t *testing.T) {
	t.Parallel()
	missing := session.Errorf(session.CodeForbidden, "rtc.channel: the credential does not grant this")
	for name, c := range map[string]struct {
		decision session.Decision
		want     error
		after    time.Duration
	}{
		"allowed":     {session.Decision{Allowed: true}, nil, 0},
		"zero":        {session.Decision{}, session.ErrDenied, 0},
		"not granted": {session.Decision{Reason: session.NotGranted, Refusal: missing}, missing, 0},
		"revoked":     {session.Refuse(session.Revoked), session.ErrRevoked, 0},
		"denied":      {session.Refuse(session.Denied), session.ErrDenied, 0},
		"unasked":     {session.Refuse(session.ApprovalUnavailable), session.ErrApprovalUnavailable, 2 * time.Second},
		"uninformed":  {session.Refuse(session.RevocationsUnknown), session.ErrRevocationsUnknown, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.decision.Err()
			if err != c.want { //nolint:errorlint // the very same
				t.Errorf("Err() = %v, want %v", err, c.want)
			}
			refused, ok := errors.AsType[*session.Error](err)
			if ok && (refused.RetryAfter != c.after || c.decision.RetryAfter != c.after) {
				t.Errorf("retry after %s and %s, want %s", refused.RetryAfter, c.decision.RetryAfter, c.after)
			}
		})
	}
}
