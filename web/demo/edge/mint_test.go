package edge

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"testing"
	"time"
)

// This file has a token builder for tests only. It shares no code with the parser of this package, so that one mistake
// cannot be in both. Tokens of Agora's own tests check the parser, too.

const (
	testApp    = "970CA35de60c44645bbae8a215061b33"
	testCert   = "5CFd2fd1755d40ecb72977518be15d3b"
	otherApp   = "970CA35de60c44645bbae8a215061b34"
	secondCert = "00112233445566778899aabbccddeeff"
)

// part is one service in a 007 token.
type part struct {
	kind       uint16
	privileges []uint32 // key and value in turn
	names      []string
	tail       []byte
}

// mint is a token to build. The zero value is a 007 token of the test's App ID without services, issued now.
type mint struct {
	app, cert string
	issued    time.Time
	expire    uint32
	salt      uint32
	parts     []part
	pack      func([]byte) []byte // packs the content; nil means zlib
	extra     []byte              // signed bytes after the last service
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func put16(n int) []byte    { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func put32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

func putString(s string) []byte { return append(put16(len(s)), s...) }

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

func (m mint) body() []byte {
	b := bytes.NewBuffer(putString(cmp.Or(m.app, testApp)))
	if m.issued.IsZero() {
		m.issued = time.Now()
	}
	b.Write(put32(uint32(m.issued.Unix())))
	b.Write(put32(m.expire))
	b.Write(put32(m.salt))
	b.Write(put16(len(m.parts)))
	for _, p := range m.parts {
		b.Write(put16(int(p.kind)))
		b.Write(put16(len(p.privileges) / 2))
		for i := 0; i < len(p.privileges); i += 2 {
			b.Write(put16(int(p.privileges[i])))
			b.Write(put32(p.privileges[i+1]))
		}
		for _, name := range p.names {
			b.Write(putString(name))
		}
		b.Write(p.tail)
	}
	b.Write(m.extra)
	return b.Bytes()
}

// plain returns the signed content of the token, before zlib and base64.
func (m mint) plain() []byte {
	body := m.body()
	head := 2 + len(cmp.Or(m.app, testApp))
	issued, salt := body[head:head+4], body[head+8:head+12]
	key := mac(salt, mac(issued, []byte(cmp.Or(m.cert, testCert))))
	return append(putString(string(mac(key, body))), body...)
}

func (m mint) token() string {
	pack := m.pack
	if pack == nil {
		pack = deflated
	}
	return "007" + base64.StdEncoding.EncodeToString(pack(m.plain()))
}

func deflated(plain []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// stored packs the content as Agora's Rust builder does: in one uncompressed block, which must be smaller than 64 KiB.
func stored(plain []byte) []byte {
	b := []byte{0x78, 0x01, 0x01}
	b = append(b, put16(len(plain))...)
	b = append(b, put16(^len(plain))...)
	b = append(b, plain...)
	return binary.BigEndian.AppendUint32(b, adler32.Checksum(plain))
}

func publisher(life time.Duration) []uint32 {
	s := seconds(life)
	return []uint32{1, s, 2, s, 3, s, 4, s}
}

// rtc returns a publisher's token for the channel "room".
func rtc(user string, life time.Duration) mint {
	return mint{expire: seconds(life), salt: 7, parts: []part{
		{kind: 1, privileges: publisher(life), names: []string{"room", user}},
	}}
}

// login returns a token for RTM (kind 2) or Chat (kind 5).
func login(kind uint16, user string, life time.Duration) mint {
	return mint{expire: seconds(life), salt: 7, parts: []part{
		{kind: kind, privileges: []uint32{1, seconds(life)}, names: []string{user}},
	}}
}

// mint006 builds a 006 token. The list `privileges` has keys and expiries, in Unix seconds, in turn.
func mint006(channel, uid string, ts int64, privileges ...uint32) string {
	message := append(put32(7), put32(uint32(ts))...)
	message = append(message, put16(len(privileges)/2)...)
	for i := 0; i < len(privileges); i += 2 {
		message = append(message, put16(int(privileges[i]))...)
		message = append(message, put32(privileges[i+1])...)
	}
	signature := mac([]byte(testCert), append([]byte(testApp+channel+uid), message...))
	content := putString(string(signature))
	content = append(content, put32(crc32.ChecksumIEEE([]byte(channel)))...)
	content = append(content, put32(crc32.ChecksumIEEE([]byte(uid)))...)
	content = append(content, putString(string(message))...)
	return "006" + testApp + base64.StdEncoding.EncodeToString(content)
}

func newEdge(t testing.TB) *Edge {
	t.Helper()
	e, err := New(Config{AppID: testApp, Certificate: testCert})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func inRoom(user string, m mint) JoinRequest {
	return JoinRequest{Leg: RTC, Channel: "room", User: user, Token: m.token()}
}
