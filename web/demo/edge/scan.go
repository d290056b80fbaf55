package edge

import "encoding/binary"

// scan reads the fields of a token. After a truncated field, `bad` is true and all further fields are zero, so a caller
// checks `bad` only once, at the end.
type scan struct {
	rest []byte
	bad  bool
}

func (s *scan) take(n int) []byte {
	if s.bad || n > len(s.rest) {
		s.bad = true
		return nil
	}
	b := s.rest[:n:n]
	s.rest = s.rest[n:]
	return b
}

func (s *scan) u16() uint16 {
	if b := s.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (s *scan) u32() uint32 {
	if b := s.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// bytes reads a number n of two bytes, and then n bytes.
func (s *scan) bytes() []byte { return s.take(int(s.u16())) }

// privileges reads a map from privilege to seconds. A duplicate key is ambiguous, so it sets `bad`.
func (s *scan) privileges() map[uint16]uint32 {
	count := s.u16()
	m := make(map[uint16]uint32)
	for range count {
		key, value := s.u16(), s.u32()
		if _, twice := m[key]; twice || s.bad {
			s.bad = true
			return nil
		}
		m[key] = value
	}
	return m
}

// whole reports whether no field was truncated and no bytes are left.
func (s *scan) whole() bool { return !s.bad && len(s.rest) == 0 }
