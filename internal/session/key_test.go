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
		k := ResumeClaims{
			Session: rapid.String().Draw(rt, "session"),
			App:     rapid.String().Draw(rt, "app"),
			Terms: Terms{
				TTL:   time.Duration(rapid.Int64Range(0, 86400).Draw(rt, "ttl")) * time.Second,
				Until: UnixSec(rapid.Int64().Draw(rt, "until")),

				MayPublish: rapid.Bool().Draw(rt, "may publish"),
				Format:     rapid.SampledFrom([]Format{Format007, Format006, FormatSingle}).Draw(rt, "format"),
			},
			Epoch: rapid.Uint64().Draw(rt, "epoch"),
		}
		if rapid.Bool().Draw(rt, "rtc") {
			k.Identity.RTC = &RTC{
				Channel: rapid.StringN(0, 64, 64).Draw(rt, "channel"), UID: rapid.Uint32().Draw(rt, "uid"),
				Account: rapid.StringN(0, 255, 255).Draw(rt, "account"), Role: Role(rapid.Uint8Range(0, 1).Draw(rt, "role")),
			}
		}
		if rapid.Bool().Draw(rt, "rtm") {
			k.Identity.RTM = &RTM{rapid.StringN(0, 64, 64).Draw(rt, "rtmUser")}
		}
		if rapid.Bool().Draw(rt, "chat") {
			k.Identity.Chat = &Chat{rapid.StringN(0, 64, 64).Draw(rt, "chatUser")}
		}
		sealed, err := s.Seal(k)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := s.Open(k.Session, sealed)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(k, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, secretA)
	k := sampleClaims()
	sealed := seal(t, s, k)
	other := seal(t, sealer(t, secretB), k)
	cases := map[string][2]string{
		"nothing":               {k.Session, ""},
		"a letter":              {k.Session, "A"},
		"no base64":             {k.Session, "§" + sealed},
		"padding":               {k.Session, sealed + "="},
		"cut short":             {k.Session, sealed[:len(sealed)-4]},
		"the head only":         {k.Session, sealed[:12]},
		"longer":                {k.Session, sealed + "AAAA"},
		"another session's":     {k.Session + "x", sealed},
		"another secret's":      {k.Session, other},
		"far too long":          {k.Session, strings.Repeat("A", 1<<20)},
		"far too long a name":   {strings.Repeat("A", 1<<20), sealed},
		"another format's byte": {k.Session, "Ag" + sealed[2:]},
	}
	for name, c := range cases {
		if _, err := s.Open(c[0], c[1]); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAlteredKeyDoesNotOpen(t *testing.T) {
	s := sealer(t, secretA)
	sealed := seal(t, s, sampleClaims())
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	must(t, err)
	for i := range raw {
		for bit := range 8 {
			altered := bytes.Clone(raw)
			altered[i] ^= 1 << bit
			if _, err := s.Open("4QX2", base64.RawURLEncoding.EncodeToString(altered)); !errors.Is(err, ErrUnknown) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	sealed := seal(t, sealer(t, secretA), sampleClaims())
	both := sealer(t, secretB, secretA)
	if _, err := both.Open("4QX2", sealed); err != nil {
		t.Fatalf("under the previous secret: %v", err)
	}
	sealed = seal(t, both, sampleClaims())
	if _, err := sealer(t, secretB).Open("4QX2", sealed); err != nil {
		t.Fatalf("sealed under the new secret: %v", err)
	}
}

func TestKeyGivesNothingAway(t *testing.T) {
	s := sealer(t, secretA)
	k := sampleClaims()
	first := seal(t, s, k)
	second := seal(t, s, k)
	check(t, first != second, "two seals of one key are alike")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	must(t, err)
	for _, secret := range []string{k.App, "daily", "seven", secretA} {
		check(t, !bytes.Contains(raw, []byte(secret)), "the key shows %q", secret)
	}
}

func TestSecretsHaveALeastLength(t *testing.T) {
	if _, err := NewSealer(); err == nil {
		t.Error("no secret was accepted")
	}
	_, err := NewSealer([]byte(secretA), []byte("short-secret"))
	check(t, err != nil && !strings.Contains(err.Error(), "short-secret"), "a short secret: %v", err)
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, secretA, secretB)
	sealed := seal(f, s, sampleClaims())
	f.Add("4QX2", sealed)
	f.Add("", "")
	f.Add("4QX2", "AQ")
	f.Fuzz(func(t *testing.T, session, key string) {
		// The fuzzer cannot forge a key, so a key that Open accepts was sealed for this session by
		// one of the fuzzer's processes.
		k, err := s.Open(session, key)
		if err != nil && !errors.Is(err, ErrUnknown) || err == nil && k.Session != "4QX2" {
			t.Fatalf("opened %q: %+v, %v", key, k, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s, k := sealer(b, secretA), sampleClaims()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(k); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, k := sealer(b, secretA), sampleClaims()
	sealed := seal(b, s, k)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(k.Session, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// An encrypted cursor can be opened for its own project only, and not as a resume key.
func TestCursors(t *testing.T) {
	s, err := NewSealer(make([]byte, minSecret))
	must(t, err)
	sealed, err := s.SealCursor("app", "at this place")
	must(t, err)
	if cursor, ok := s.OpenCursor("app", sealed); !ok || cursor != "at this place" {
		t.Errorf("opens as %q, %t", cursor, ok)
	}
	if again, _ := s.SealCursor("app", "at this place"); again == sealed {
		t.Error("two cursors of one place are equal")
	}
	key := seal(t, s, ResumeClaims{Session: cursorName("app"), App: "app"})
	for name, c := range map[string][2]string{
		"of another project": {"else", sealed}, "a key": {"app", key}, "nothing": {"app", ""}, "cut": {"app", sealed[:8]},
		"altered": {"app", sealed[:len(sealed)-8] + "AAAAAAAA"}, "too long": {"app", sealed + strings.Repeat("A", maxSealed)},
	} {
		if cursor, ok := s.OpenCursor(c[0], c[1]); ok {
			t.Errorf("%s opens as %q", name, cursor)
		}
	}
	if _, err := s.Open(cursorName("app"), sealed); !errors.Is(err, ErrUnknown) {
		t.Errorf("as a key: %v", err)
	}
}
