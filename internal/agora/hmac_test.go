package agora

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

func TestHMACIsCryptoHMAC(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, sha256.BlockSize).Draw(t, "key")
		message := rapid.SliceOfN(rapid.Byte(), 0, 2*maxBody).Draw(t, "message")
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		want := mac.Sum(nil)
		if got := hmacSHA256(key, message); !bytes.Equal(got[:], want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}
