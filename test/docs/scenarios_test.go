package docs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// scenarios cause the messages and close codes that no transcript has.
var scenarios = map[string]func(t *testing.T, seen *record){
	"resumes on a node that knows the key only": func(t *testing.T, seen *record) {
		a := startNode(t, "").dial(t, seen)
		a.send(join)
		joined := a.expect("joined")

		// The client reports that its tokens have expired.
		b := startNode(t, "ack-timeout=200ms").dial(t, seen)
		b.send(resumeOf(joined, fmt.Sprintf(`,"seq":41,"expiresAt":%d`, time.Now().Unix()-10)))
		if m := b.expect("joined"); m["action"] != "rejoin" || fmt.Sprint(m["seq"]) != "42" {
			t.Errorf("got %v", m)
		}
		if m := b.expect("token-privilege-did-expire"); m["cause"] != "renew" || fmt.Sprint(m["attempt"]) != "2" {
			t.Errorf("got %v", m)
		}

		// The client reports no expiry. Its SDK refuses the tokens.
		c := startNode(t, "").dial(t, seen)
		c.send(resumeOf(joined, ""))
		if m := c.expect("joined"); m["action"] != "renew" || fmt.Sprint(m["seq"]) != "1" {
			t.Errorf("got %v", m)
		}
		c.send(`{"type":"nack","seq":1,"code":"INVALID_OPERATION"}`)
		if m := c.expect("token-privilege-did-expire"); fmt.Sprint(m["previousExpiresAt"]) != "0" {
			t.Errorf("got %v", m)
		}
	},
	"tokens that run out": func(t *testing.T, seen *record) {
		s := startNode(t, "ttl=3s ack-timeout=1m").dial(t, seen)
		s.send(join)
		s.expect("joined")
		s.expect("token-privilege-will-expire")
		if m := s.expect("token-privilege-did-expire"); m["cause"] != "schedule" {
			t.Errorf("got %v", m)
		}
	},
	"the end of what a session may have": func(t *testing.T, seen *record) {
		s := startNode(t, "ttl=3s max-session=3s").dial(t, seen)
		s.send(join)
		s.expect("joined")
		if m := s.expect("ended"); m["reason"] != "expired" {
			t.Errorf("got %v", m)
		}
		s.closed(protocol.CloseEnded)
	},
	"no room": func(t *testing.T, seen *record) {
		n := startNode(t, "max-sessions=1")
		a, b := n.dial(t, seen), n.dial(t, seen)
		a.send(join)
		a.expect("joined")
		b.send(join)
		b.expect("error")
		b.expect("reconnect")
		b.closed(protocol.CloseOverload)
	},
	"mistakes": func(t *testing.T, seen *record) {
		n := startNode(t, "")
		for text, closes := range map[string]protocol.CloseCode{
			`{"type":"ping"}`:                    protocol.CloseMalformed,
			"{\"type\":\"ping\",\"x\":\"\xff\"}": protocol.CloseNotUTF8,
			// This first message has a field of another message, with a wrong type.
			`{"type":"join","chat":{"userId":"ana"},"seq":"1"}`:       protocol.CloseMalformed,
			`{"type":"resume","session":"S","key":"K"}`:               protocol.CloseUnknownSession,
			`{"type":"ping","x":"` + strings.Repeat("x", 8192) + `"}`: protocol.CloseTooLarge,
		} {
			s := n.dial(t, seen)
			s.send(text)
			s.expect("error")
			s.closed(closes)
		}
		s := n.dial(t, seen)
		s.send(join)
		s.expect("joined")
		s.send(`{"type":"mute"}`)
		s.expect("error")
		s.send(`{"type":"ping","x":"` + strings.Repeat("x", 8192-len(`{"type":"ping","x":""}`)) + `"}`)
		s.expect("pong")
		for range 120 {
			s.send(`{"type":"renew"}`)
		}
		m, _ := s.hear()
		for m["type"] == "token-privilege-will-expire" {
			m, _ = s.hear()
		}
		if m["code"] != "rate_limited" {
			t.Errorf("got %v", m)
		}
		s.closed(protocol.CloseRateLimited)
	},
	"changes by operators, to a client that does not answer": func(t *testing.T, seen *record) {
		n := startNode(t, "ttl=6s renew-before=1s ack-timeout=1m") // no renewal is due before the certificate changes
		for cause, give := range map[string]func(joined object){
			"role": func(joined object) {
				path := fmt.Sprintf("/v1/sessions/%s", joined["session"])
				n.awaitListed(path)
				n.request("PATCH", n.public()+path, `{"rtc":{"role":"publisher"}}`, "")
			},
			"certificate": func(object) { n.changeCertificate() },
		} {
			s := n.dial(t, seen)
			s.send(join)
			give(s.expect("joined"))
			s.expect("token-privilege-will-expire")
			if m := s.expect("token-privilege-did-expire"); m["cause"] != cause {
				t.Errorf("got %v", m)
			}
			s.lose()
		}
	},
	"a back end that says no": func(t *testing.T, seen *record) {
		backEnd := apptest.NewBackEnd(t)
		backEnd.Refuse("renew")
		s := startNode(t, "ttl=6s authorize-url="+backEnd.URL).dial(t, seen) // the back end has 1.5 s to answer an approval request
		s.send(join)
		s.expect("joined")
		s.send(`{"type":"ack","seq":1}`)
		if m := s.expect("ended"); m["reason"] != "denied" {
			t.Errorf("got %v", m)
		}
		s.closed(protocol.CloseEnded)
	},
}
