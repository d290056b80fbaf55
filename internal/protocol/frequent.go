package protocol

import (
	"bytes"
	"strconv"

	"refresher/internal/session"
)

// decodeFrequent reads the three messages that a client sends again and again, if they are
// written as JSON.stringify and encoding/json write them. It takes 20 ns, and little stack;
// encoding/json takes a microsecond. It returns false for everything else.
func decodeFrequent(data []byte) (ClientMessage, bool) {
	switch string(data) {
	case `{"type":"ping"}`:
		return ClientMessage{Type: TypePing}, true
	case `{"type":"renew"}`:
		return ClientMessage{Type: TypeRenew}, true
	}
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"ack","seq":`))
	if !ok {
		return ClientMessage{}, false
	}
	digits, ok := bytes.CutSuffix(rest, []byte("}"))
	if !ok || len(digits) == 0 || len(digits) > 16 || digits[0] == '0' {
		return ClientMessage{}, false
	}
	var seq uint64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return ClientMessage{}, false
		}
		seq = 10*seq + uint64(d-'0')
	}
	return ClientMessage{Type: TypeAck, Seq: &seq}, true
}

// AppendPong appends a Pong as encoding/json writes it.
func AppendPong(b []byte, now session.UnixMilli) []byte {
	b = append(b, `{"type":"pong","now":`...)
	return append(strconv.AppendInt(b, int64(now), 10), '}')
}
