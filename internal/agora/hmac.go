package agora

import (
	"crypto/sha256"
	"crypto/subtle"
)

var innerPad, outerPad = pad(0x36), pad(0x5c)

func pad(b byte) (p [sha256.BlockSize]byte) {
	for i := range p {
		p[i] = b
	}
	return p
}

// hmacSHA256 is HMAC-SHA256 (RFC 2104) for a key of at most one block (64 bytes); Agora's keys have 4 or 32 bytes.
// Unlike crypto/hmac it keeps its state on the stack: a token needs three HMACs, which are most of its cost. It
// allocates memory only for a message longer than any token of this package.
func hmacSHA256(key, message []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + maxBody]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key)
	copy(outer[:], key)
	subtle.XORBytes(inner[:], inner[:sha256.BlockSize], innerPad[:])
	subtle.XORBytes(outer[:], outer[:sha256.BlockSize], outerPad[:])

	digest := sha256.Sum256(append(inner[:sha256.BlockSize], message...))
	copy(outer[sha256.BlockSize:], digest[:])
	return sha256.Sum256(outer[:])
}
