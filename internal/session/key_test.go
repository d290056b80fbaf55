package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func sealer(t testing.TB, secrets ...string) *Sealer {
	t.Helper()
	var raw [][]byte
	for _, s := range secrets {
		raw = append(raw, []byte(s))
	}
	s, err := NewSealer(raw...)
	must(t, err)
	return s
}

// seal returns the resume key for claims.
func seal(t testing.TB, s *Sealer, k ResumeClaims) string {
	t.Helper()
	sealed, err := s.Seal(k)
	must(t, err)
	return sealed
}

const (
	secretA = "a secret of more than 16 bytes"
	secretB = "another secret of as many bytes"
)

func sampleClaims() ResumeClaims {
	return ResumeClaims{
		Session:  "4QX2",
		App:      "970CA35de60c44645bbae8a215061b33",
		Identity: Identity{RTC: &RTC{Channel: "daily", UID: 7, Role: Publisher}, RTM: &RTM{"seven"}},
		Terms:    Terms{TTL: time.Hour, Until: 1_800_000_000},
		Epoch:    3,
	}
}

func TestSealedKeyOpens(t *testing.T) {
	s := sealer(t, secretA)
	rapid.Check(t, func(rt *rapid.T) {
		k := rapid.Make[ResumeClaims]().Draw(rt, "claims")
		k.Terms.TTL = k.Terms.TTL.Truncate(time.Second)
		k.Terms.Format %= FormatSingle + 1
		if k.Identity.RTC != nil {
			k.Identity.RTC.Role %= Publisher + 1
		}
		sealed := seal(t, s, k)
		if len(sealed) > maxSealed {
			rt.Skip("the names are longer than Agora allows")
		}
		got, err := s.Open(k.Session, sealed)
		must(rt, err)
		diff := cmp.Diff(k, got)
		require(rt, diff == "", "%s", diff)
	})
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, secretA)
	k := sampleClaims()
	sealed := seal(t, s, k)
	for name, c := range map[string][2]string{
		"empty":              {k.Session, ""},
		"no base64":          {k.Session, "§" + sealed},
		"padding":            {k.Session, sealed + "="},
		"cut":                {k.Session, sealed[:len(sealed)-4]},
		"without nonce":      {k.Session, sealed[:12]},
		"longer":             {k.Session, sealed + "AAAA"},
		"of another session": {k.Session + "x", sealed},
		"of another secret":  {k.Session, seal(t, sealer(t, secretB), k)},
		"too long":           {k.Session, strings.Repeat("A", 1<<20)},
		"too long a name":    {strings.Repeat("A", 1<<20), sealed},
		"of another format":  {k.Session, "Ag" + sealed[2:]},
	} {
		_, err := s.Open(c[0], c[1])
		check(t, errors.Is(err, ErrUnknown), "%s: %v", name, err)
	}
}

func TestAnAlteredKeyDoesNotOpen(t *testing.T) {
	s := sealer(t, secretA)
	raw, err := base64.RawURLEncoding.DecodeString(seal(t, s, sampleClaims()))
	must(t, err)
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			_, err := s.Open("4QX2", base64.RawURLEncoding.EncodeToString(raw))
			require(t, errors.Is(err, ErrUnknown), "byte %d, bit %d: %v", i, bit, err)
			raw[i] ^= 1 << bit
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	old, both, current := sealer(t, secretA), sealer(t, secretB, secretA), sealer(t, secretB)
	_, err := both.Open("4QX2", seal(t, old, sampleClaims()))
	check(t, err == nil, "a key under the previous secret: %v", err)
	_, err = current.Open("4QX2", seal(t, both, sampleClaims()))
	check(t, err == nil, "a key under the new secret: %v", err)
}

func TestKeyGivesNothingAway(t *testing.T) {
	s := sealer(t, secretA)
	k := sampleClaims()
	sealed := seal(t, s, k)
	check(t, sealed != seal(t, s, k), "two seals of one key are equal")
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	must(t, err)
	for _, secret := range []string{k.App, "daily", "seven", secretA} {
		check(t, !bytes.Contains(raw, []byte(secret)), "the key shows %q", secret)
	}
}

func TestSecretsHaveALeastLength(t *testing.T) {
	_, err := NewSealer()
	check(t, err != nil, "no secret was accepted")
	_, err = NewSealer([]byte(secretA), []byte("short-secret"))
	check(t, err != nil && !strings.Contains(err.Error(), "short-secret"), "a short secret: %v", err)
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, secretA, secretB)
	f.Add("4QX2", seal(f, s, sampleClaims()))
	f.Add("", "")
	f.Add("4QX2", "AQ")
	f.Fuzz(func(t *testing.T, session, key string) {
		// The fuzzer cannot forge a key. So if Open accepts a key, one of the fuzzer's processes has made
		// it with Seal for this session.
		k, err := s.Open(session, key)
		if err != nil && !errors.Is(err, ErrUnknown) || err == nil && k.Session != "4QX2" {
			t.Fatalf("opened %q: %+v, %v", key, k, err)
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	s, k := sealer(b, secretA), sampleClaims()
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Open(k.Session, seal(b, s, k))
		must(b, err)
	}
}

// An encrypted cursor can be opened for its own project only, and not as a resume key.
func TestCursors(t *testing.T) {
	s := sealer(t, secretA)
	sealed, err := s.SealCursor("app", "at this place")
	must(t, err)
	cursor, ok := s.OpenCursor("app", sealed)
	check(t, ok && cursor == "at this place", "opens as %q, %t", cursor, ok)
	key := seal(t, s, ResumeClaims{Session: cursorName("app"), App: "app"})
	for name, c := range map[string][2]string{
		"of another project": {"else", sealed}, "a key": {"app", key}, "altered": {"app", sealed[:len(sealed)-8] + "AAAAAAAA"},
	} {
		cursor, ok := s.OpenCursor(c[0], c[1])
		check(t, !ok, "%s opens as %q", name, cursor)
	}
	_, err = s.Open(cursorName("app"), sealed)
	check(t, errors.Is(err, ErrUnknown), "as a key: %v", err)
}
