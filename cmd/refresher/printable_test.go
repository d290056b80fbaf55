package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// Texts from clients appear in the log, in either format, with printable characters only.
func TestNothingThatAClientWritesReachesATerminal(t *testing.T) {
	const nasty = "\u009b31m\u0085\u202e\x7f"
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--log-format="+format))
			socket, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/v1/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{
				`{"type":"join","rtm":{"userId":"u"}}`, fmt.Sprintf(`{"type":"nack","seq":1,"code":"%s","message":"a%sb c"}`, nasty, nasty), `{"type":"leave"}`,
			} {
				if err := socket.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			for err == nil {
				_, _, err = socket.Read(t.Context())
			}
			log := s.stop(syscall.SIGTERM)
			if !strings.Contains(log, "SDK refused") || !strings.Contains(log, `u202e`) || strings.ContainsAny(log, "\u009b\u0085\u202e\x7f") {
				t.Errorf("%q", log)
			}
		})
	}
}
