package credential

import (
	"context"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkVerify(b *testing.B) {
	grants := map[string]any{"grants": map[string]any{
		"rtc": map[string]any{"channels": []string{"daily-*"}, "uids": []int{1001}, "roles": []string{"publisher"}},
		"rtm": map[string]any{"users": []string{"1001"}}, "maxTtl": 3600,
	}}
	s := newStand(b, one(Keys{Secrets: []string{secretA}, PublicKeyPEMs: []string{publicPEM(ecKey()), publicPEM(rsaKey()), publicPEM(edKey())}}))
	claims := func() jwt.MapClaims { return claimsWith(grants) }
	for _, c := range []struct {
		name, credential string
		good             bool
	}{
		{"HS256", sign("HS256", "", []byte(secretA), claims()), true},
		{"ES256", sign("ES256", "", ecKey(), claims()), true},
		{"RS256", sign("RS256", "", rsaKey(), claims()), true},
		{"EdDSA", sign("EdDSA", "", edKey(), claims()), true},
		{"Forged", sign("HS256", "", []byte(secretB), claims()), false},
		{"Garbage8KiB", strings.Repeat("a", MaxCredential), false},
		{"Garbage1MiB", strings.Repeat("a.", 1<<19), false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(context.Background(), c.credential); (err == nil) != c.good {
					b.Fatal(err)
				}
			}
		})
	}
}
