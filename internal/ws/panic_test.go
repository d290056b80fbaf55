package ws

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/panics"
	"refresher/internal/protocol"
)

// A panic while a message is handled closes only the connection of that message, and detaches the session of that
// connection.
func TestPanicEndsOneConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := panics.NewReporter(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		s := newHarness(t, func(c *Config) { c.Panics = reports })
		bystander := s.join()
		s.sessions.beforeJoined = func() { panic("a fault") }
		bad := s.dial()
		bad.send(joinText)
		if m := bad.refused(protocol.CloseInternal); m.Code != "internal" {
			t.Errorf("told %+v", m)
		}
		s.sessions.beforeJoined = nil
		victim := s.join()
		s.sessions.last().broken = true
		victim.send(`{"type":"renew"}`)
		victim.refused(protocol.CloseInternal)
		s.said("detach")
		bystander.send(`{"type":"ping"}`)
		bystander.expect(protocol.TypePong)
	})
}

// If a read from the connection panics while the client's join is still handled, the session that the join
// opens is detached.
func TestPanicOfTheReaderDetachesTheSessionThatIsBeingJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := panics.NewReporter(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		s := newHarness(t, func(c *Config) { c.Panics = reports })
		answer := make(chan struct{})
		s.sessions.beforeJoined = func() { <-answer }
		c, _ := s.raw()
		write(c, text(joinText))
		synctest.Wait()
		for _, conn := range s.hub.all() {
			conn.socket.conn = nil // makes the next read panic
		}
		write(c, []byte{0x81, 0x80 | 126, 0x10, 0, 0, 0, 0, 0}, make([]byte, 2*freeBytes))
		synctest.Wait()
		close(answer)
		s.said("detach")
		if n := s.hub.open(); n != 0 {
			t.Errorf("%v connections are left", n)
		}
	})
}
