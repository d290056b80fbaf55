package session

import (
	"errors"
	"testing"
	"time"
)

func TestADecisionsErrorSaysWhyToTheCaller(t *testing.T) {
	refusal := Errorf(CodeForbidden, "rtc.channel: the credential does not grant this")
	for _, c := range []struct {
		decision Decision
		want     error
		after    time.Duration
	}{
		{Decision{Allowed: true}, nil, 0},
		{Decision{}, ErrDenied, 0},
		{Decision{Reason: NotGranted, Refusal: refusal}, refusal, 0},
		{Refuse(Revoked), ErrRevoked, 0},
		{Refuse(Denied), ErrDenied, 0},
		{Refuse(ApprovalUnavailable), ErrApprovalUnavailable, 2 * time.Second},
		{Refuse(RevocationsUnknown), ErrRevocationsUnknown, 2 * time.Second},
	} {
		equal(t, "error", c.decision.Err(), c.want)
		equal(t, "RetryAfter", c.decision.RetryAfter, c.after)
		if refused, ok := errors.AsType[*Error](c.want); ok {
			equal(t, "RetryAfter of the error", refused.RetryAfter, c.after)
		}
	}
}
