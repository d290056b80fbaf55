// Package ws serves the WebSocket connections. It upgrades HTTP requests, reads and checks
// clients' messages, passes them to their sessions, writes the sessions' messages, closes dead
// connections, and tells clients to reconnect elsewhere when the node stops.
//
//	 HTTP request
//	      │ upgrade; the HTTP handler returns and its memory is freed
//	      ▼
//	┌───────────┐ join or resume accepted ┌────────────┐
//	│ greeting  │────────────────────────►│  attached  │◄─┐ ack, nack, renew, ping;
//	└─────┬─────┘                         └─────┬──────┘──┘ pushes from the scheduler
//	      │ refused (44xx, 1013),               │ leave, ended (1000, 44xx),
//	      │ nothing in time (4408)              │ silent (4001), does not read (4002),
//	      ▼                                     ▼ drain (1012), connection lost
//	┌──────────────────────────────────────────────────┐
//	│ closing: final message, close frame, in deadlines│──► detached from its session
//	└──────────────────────────────────────────────────┘
//
// Each connection has one goroutine that waits for input with a stack of 2 KiB. It handles one
// message, starts a new goroutine that waits for the next, and ends (see conn.serve), so the
// messages of a connection are handled in order. During the first message the new goroutine
// already reads: if the client hangs up, its join or resume is cancelled. Heartbeats are
// answered by the waiting goroutine itself.
//
// Any goroutine may write. Messages are not queued: a write succeeds within the write timeout,
// or the connection is closed with 4002. The kernel's send buffer is small (sendBuffer), so a
// write to a client that does not read soon blocks.
//
// Read deadlines use no timers: a sweep checks all connections once a second.
//
// A first message is checked in this order: its form, the node's drain, the address's rate, the
// credential and its holder's rate (join) or the resume key (resume), Config.JoinRate, and then
// Sessions. Messages, pings, pongs, and each further KiB of a message count for the message rate.
//
// Locks: sessions write to connections with their mutex held. So this package never calls an
// Attachment with a mutex of its own held, and a session.Client method never calls its session.
package ws
