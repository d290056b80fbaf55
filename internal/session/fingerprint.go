package session

import "fmt"

// Fingerprint names an App Certificate without revealing anything of it: 32 bits that
// are derived from it. 0 is not known.
type Fingerprint uint32

// String returns eight hexadecimal digits, or nothing for 0.
func (f Fingerprint) String() string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", uint32(f))
}

// MarshalText implements encoding.TextMarshaler.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }
