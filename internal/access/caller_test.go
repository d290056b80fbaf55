package access

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"refresher/internal/access/credential"
	"refresher/internal/session"
)

const secret = "a secret that signs credentials, of enough bytes"

func signed(t *testing.T, subject string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": subject, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var projects = []credential.Project{{App: "app", Keys: credential.Keys{Secrets: []string{secret}}}}

func code(err error) session.Code {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return refused.Code
	}
	return ""
}

func TestAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := &revocations{}
		a := newAccess(t, Config{Rules: Rules{Auth: "jwt", SubjectRate: 1}, Projects: projects, Revocations: known})
		if _, err := a.Authenticate(t.Context(), "forged"); code(err) != session.CodeUnauthenticated {
			t.Errorf("a forged one: %v", err)
		}
		if c, err := a.Authenticate(t.Context(), signed(t, "ana")); err != nil || c.App != "app" || c.Subject != "ana" {
			t.Errorf("a good one: %+v, %v", c, err)
		}
		_, err := a.Authenticate(t.Context(), signed(t, "ana"))
		if refused, ok := errors.AsType[*session.Error](err); !ok || refused.Code != session.CodeRateLimited || refused.RetryAfter <= 0 || refused.RetryAfter > 2*time.Second {
			t.Errorf("too often: %v", err)
		}
		if _, err := a.Authenticate(t.Context(), signed(t, "ben")); err != nil {
			t.Errorf("of another: %v", err)
		}
		known.matches = true
		if _, err := a.Authenticate(t.Context(), signed(t, "ana")); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("of a revoked subject: %v", err)
		}
		if !a.HasKeys() {
			t.Error("has no keys")
		}
		if err := a.Update(credential.Project{App: "app", Keys: credential.Keys{Secrets: []string{"another secret, of enough bytes as well"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Authenticate(t.Context(), signed(t, "ana")); code(err) != session.CodeUnauthenticated {
			t.Errorf("signed with a removed key: %v", err)
		}
	})
}

func TestAuthenticateWithoutCredentials(t *testing.T) {
	a := newAccess(t, Config{Rules: Rules{SubjectRate: 1}})
	for _, text := range []string{"", "whatever", ""} {
		if c, err := a.Authenticate(t.Context(), text); err != nil || c.App != "app" || !c.Grant.All {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if !a.HasKeys() || a.Update(projects...) != nil {
		t.Error("wants keys")
	}
}
