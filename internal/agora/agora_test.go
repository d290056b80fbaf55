package agora

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"refresher/internal/session"
)

// The App ID and certificate of Agora's own tests.
const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"

	now = session.UnixSec(1_700_000_000)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testMinter mints tokens of one version, with a separate token for each service.
type testMinter struct {
	*Minter

	format session.Format
}

func newMinter(t testing.TB, v Version) testMinter {
	t.Helper()
	m, err := NewMinter(appID, certificate)
	if err != nil {
		t.Fatal(err)
	}
	if v == V006 {
		return testMinter{m, session.Format006}
	}
	return testMinter{m, session.Format007}
}

func (m testMinter) Mint(id session.Identity, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	return m.Minter.Mint(id, m.format, issuedAt, expiresAt)
}

func (m testMinter) mintRTC(r session.RTC, issuedAt, expiresAt session.UnixSec) (string, error) {
	tokens, err := m.Mint(session.Identity{RTC: &r}, issuedAt, expiresAt)
	return tokens.RTC, err
}

func (m testMinter) mintRTM(r session.RTM, issuedAt, expiresAt session.UnixSec) (string, error) {
	tokens, err := m.Mint(session.Identity{RTM: &r}, issuedAt, expiresAt)
	return tokens.RTM, err
}

// must returns a function that returns v, and fails the test if err is not nil.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantBadRequest(t *testing.T, err error, message string) {
	t.Helper()
	var refusal *session.Error
	if !errors.As(err, &refusal) || refusal.Code != session.CodeBadRequest {
		t.Fatalf("got error %v, want a *session.Error of %q", err, session.CodeBadRequest)
	}
	if refusal.Message != message {
		t.Errorf("got  %q\nwant %q", refusal.Message, message)
	}
}

func wantFields(t *testing.T, got, want *Token) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Token{})); diff != "" {
		t.Fatalf("token (-want +got):\n%s", diff)
	}
}

// encodeSigned encodes the signed part of a parsed token from its fields: the body in 007, the
// message in 006.
func encodeSigned(t *Token) []byte {
	le := binary.LittleEndian
	privileges := func(b []byte, list []Privilege, base session.UnixSec) []byte {
		b = le.AppendUint16(b, uint16(len(list)))
		for _, p := range list {
			b = le.AppendUint16(b, p.ID)
			if p.ExpiresAt == 0 {
				b = le.AppendUint32(b, 0)
			} else {
				b = le.AppendUint32(b, uint32(p.ExpiresAt-base))
			}
		}
		return b
	}
	if t.Version == V006 {
		b := le.AppendUint32(nil, t.Salt)
		b = le.AppendUint32(b, uint32(t.ValidUntil))
		return privileges(b, t.Services[0].Privileges, 0)
	}
	b := appendString(nil, t.AppID)
	b = le.AppendUint32(b, uint32(t.IssuedAt))
	b = le.AppendUint32(b, uint32(t.ValidUntil-t.IssuedAt))
	b = le.AppendUint32(b, t.Salt)
	b = le.AppendUint16(b, uint16(len(t.Services)))
	for _, s := range t.Services {
		b = le.AppendUint16(b, uint16(s.Type))
		b = privileges(b, s.Privileges, t.IssuedAt)
		switch s.Type {
		case ServiceRTC:
			b = appendString(appendString(b, s.Channel), s.User)
		case ServiceRTM, ServiceChat:
			b = appendString(b, s.User)
		case ServiceAPaaS:
			b = appendString(appendString(b, s.Room), s.User)
			b = le.AppendUint16(b, uint16(s.Role))
		}
	}
	return b
}

const allowedRTC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !#$%&()+-:;<=.>?@[]^_{|}~,"

// request has the arguments of one call of Mint. The identity has every service.
type request struct {
	session.Identity
	from, to session.UnixSec
}

// requests returns valid requests at the limits of each field.
func requests() (all []request) {
	for _, r := range []session.RTC{
		{Channel: "c"},
		{Channel: "c", UID: 1},
		{Channel: allowedRTC[:64], UID: math.MaxUint32},
		{Channel: allowedRTC[64:], Account: "ana"},
		{Channel: "c", Account: strings.Repeat(allowedRTC, 3)[:255]},
	} {
		for _, role := range []session.Role{session.Subscriber, session.Publisher} {
			r.Role = role
			id := session.Identity{RTC: &r, RTM: &session.RTM{UserID: allowedRTC[:64]}, Chat: &session.Chat{UserID: "Ana_-."}}
			const latest = math.MaxUint32 - maxLifetime
			all = append(all, request{id, 1, 2}, request{id, now, now + 3600}, request{id, latest, latest + maxLifetime})
		}
	}
	return all
}
