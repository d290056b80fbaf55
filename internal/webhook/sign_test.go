package webhook

import "testing"

// vector is a request that was signed by other means:
//
//	printf '1800000000.{"id":"S.joined"}' | openssl dgst -sha256 -hmac "$secret"
var vector = struct {
	secret, timestamp, body, signature string
}{
	"a secret of more than 16 bytes", "1800000000", `{"id":"S.joined"}`,
	"v1=5febad0b68025cc7cf7c36ce6a67ba05c992daafad7d3a010138347ae19d38fb",
}

var testSecret = []byte("a secret of more than 16 bytes")

func TestSign(t *testing.T) {
	if got := sign([]byte(vector.secret), vector.timestamp, []byte(vector.body)); got != vector.signature {
		t.Errorf("signature %s, want %s", got, vector.signature)
	}
}
