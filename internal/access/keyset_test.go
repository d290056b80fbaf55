package access_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// A node fetches the key set. Without a key set, it tells clients to retry later, and it is not ready.
func TestKeySetOfANode(t *testing.T) {
	x := base64.RawURLEncoding.EncodeToString(apptest.PrivateKey.Public().(ed25519.PublicKey))
	user := apptest.SignEd(`{"alg":"EdDSA","kid":"k1"}`, apptest.GoodClaims(nil), apptest.PrivateKey)
	visit, services := apptest.Get("/rtm/ana"), `"rtm":{"userId":"ana"}`
	for keys, published := range map[string]bool{
		"": false,
		fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"k1","x":%q}`, x): true,
	} {
		issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`+keys+`]}`)
		}))
		defer issuer.Close()
		g := apptest.StartLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.Projects[0].Keys = credential.Keys{JWKSURL: issuer.URL}
		}, app.Outside{}, (&net.Dialer{}).DialContext)
		joined, visited := g.Join(services, user), g.Enter(visit, user)
		if published {
			if joined.Status != http.StatusOK || visited.Status != http.StatusOK {
				t.Errorf("a published key: %+v, %+v", joined, visited)
			}
			continue
		}
		if joined.Code != "unavailable" || joined.Closed != protocol.CloseOverload {
			t.Errorf("a join without a key set: %+v", joined)
		}
		if visited.Status != http.StatusServiceUnavailable || visited.Header.Get("Retry-After") == "" {
			t.Errorf("a request without a key set: %+v", visited)
		}
		if why := g.Operations("/readyz"); why != "starting: no key set has been fetched yet\n" {
			t.Errorf("/readyz says %s", why)
		}
	}
}
