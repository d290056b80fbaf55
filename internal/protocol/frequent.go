package protocol

import (
	"bytes"
	"strconv"

	"refresher/internal/session"
)

// PingText is a ping message exactly as JSON.stringify and encoding/json write it.
const PingText = `{"type":"ping"}`

// Frequent decodes an ack, a ping or a renew message, the three most frequent ones, if the message is written exactly as
// JSON.stringify and encoding/json write it. It uses no reflection and little stack. The result `kind` is the
// message's type, and `seq` is the seq of an ack. For any other text `ok` is false; DecodeClient decodes such a text.
func Frequent(data []byte) (kind string, seq uint64, ok bool) {
	switch string(data) {
	case PingText:
		return TypePing, 0, true
	case `{"type":"renew"}`:
		return TypeRenew, 0, true
	}
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"ack","seq":`))
	if !ok {
		return "", 0, false
	}
	digits, ok := bytes.CutSuffix(rest, []byte("}"))
	if !ok || len(digits) == 0 || len(digits) > 16 || digits[0] == '0' {
		return "", 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return "", 0, false
		}
		seq = 10*seq + uint64(d-'0')
	}
	return TypeAck, seq, true
}

// AppendPong appends a Pong to b, exactly as encoding/json writes it.
func AppendPong(b []byte, now session.UnixMilli) []byte {
	b = append(b, `{"type":"pong","now":`...)
	return append(strconv.AppendInt(b, int64(now), 10), '}')
}
