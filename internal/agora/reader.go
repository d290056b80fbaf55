package agora

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"slices"
	"strings"

	"refresher/internal/session"
)

// reader reads fields from the front of a slice. `err` keeps the first error; after an error, every method returns a
// zero value. So a caller checks `err` only at the end, and before each iteration of a loop.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = badToken(format, args...)
	}
}

// take returns the next n bytes without copying them.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail("truncated; want all of it")
	}
	if r.err != nil {
		return nil
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

// end sets err if some input has not been read.
func (r *reader) end() {
	if len(r.rest) > 0 {
		r.fail("bytes after its end: %d; want none", len(r.rest))
	}
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(int(r.uint16())) }

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) signature() []byte {
	signature := r.bytes()
	if len(signature) != sha256.Size {
		r.fail("signature of %d bytes; want %d", len(signature), sha256.Size)
	}
	return signature
}

// appID reads the next n bytes as an App ID.
func (r *reader) appID(n int) string {
	id := string(r.take(n))
	if r.err == nil {
		if err := checkHex(id); err != nil {
			r.fail("app id: %v", err)
		}
	}
	return id
}

// privileges reads a map of privileges and sorts it. The expiries in the map are relative to base. The names stay
// empty, so the caller must set them.
func (r *reader) privileges(base session.UnixSec) []Privilege {
	count := int(r.uint16())
	if count > maxPrivileges {
		r.fail("%d privileges in a service; want %d at most", count, maxPrivileges)
	}
	privileges := []Privilege{}
	for len(privileges) < count && r.err == nil {
		p := Privilege{ID: r.uint16()}
		if end := r.uint32(); end != 0 {
			p.ExpiresAt = base + session.UnixSec(end)
		}
		if slices.ContainsFunc(privileges, func(q Privilege) bool { return q.ID == p.ID }) {
			r.fail("privilege %d is listed twice; want it once", p.ID)
		}
		privileges = append(privileges, p)
	}
	slices.SortFunc(privileges, func(a, b Privilege) int { return cmp.Compare(a.ID, b.ID) })
	return privileges
}

// decodeBase64 accepts only the canonical encoding: standard alphabet, padding, no line breaks
// (which package base64 would skip), and unused bits zero.
func decodeBase64(text string) ([]byte, error) {
	content, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, badToken("not padded standard base64; want it exactly as it was issued")
	}
	return content, nil
}

// inflate decompresses a zlib stream and checks its checksum. It fails after maxContent bytes.
func inflate(stream []byte) ([]byte, error) {
	in := bytes.NewReader(stream)
	out, err := zlib.NewReader(in)
	if err != nil {
		return nil, badToken("content is no zlib stream; want it exactly as it was issued")
	}
	content, err := io.ReadAll(io.LimitReader(out, maxContent+1))
	switch {
	case len(content) > maxContent:
		return nil, badToken("inflates to over %d bytes; want that at most", maxContent)
	case err != nil:
		return nil, badToken("zlib stream is damaged or truncated; want it exactly as it was issued")
	case in.Len() > 0:
		return nil, badToken("bytes after its zlib stream: %d; want none", in.Len())
	}
	return content, nil
}
