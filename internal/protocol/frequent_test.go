package protocol

import (
	"encoding/json"
	"reflect"
	"testing"

	"refresher/internal/session"
)

// FuzzFrequent checks that Frequent and encoding/json decode a message to the same values.
func FuzzFrequent(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"renew"}`, `{"type":"ack","seq":1}`, `{"type":"ack","seq":4503599627370496}`, `{"type":"ack","seq":0}`,
		`{"type":"ack","seq":01}`, `{"type":"ack","seq":}`, `{"type":"ack","seq":-1}`, `{"type":"ack","seq":1.5}`, `{"type":"ack","seq":1e3}`,
		`{"type":"ack","seq":99999999999999999999}`, `{"type":"ack","seq":1}}`, `{"type":"ack","seq":1`, `{"type":"ping"} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, seq, ok := Frequent(data)
		if !ok {
			return
		}
		have := ClientMessage{Type: kind}
		if kind == TypeAck {
			have.Seq = &seq
		}
		var want ClientMessage
		if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %+v, want %+v, %v", data, have, want, err)
		}
	})
}

// Frequent decodes messages exactly as the client libraries write them.
func TestFrequent(t *testing.T) {
	seq := uint64(12)
	for _, m := range []ClientMessage{{Type: TypePing}, {Type: TypeRenew}, {Type: TypeAck, Seq: &seq}} {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		kind, have, ok := Frequent(data)
		if !ok || kind != m.Type || kind == TypeAck && have != seq {
			t.Errorf("%s: %s, %d, %t", data, kind, have, ok)
		}
	}
	for _, now := range []session.UnixMilli{0, -5, 1796040000412} {
		want, err := json.Marshal(Pong{Type: TypePong, Now: now})
		if have := AppendPong(nil, now); err != nil || string(have) != string(want) {
			t.Errorf("%s, want %s", have, want)
		}
	}
}
