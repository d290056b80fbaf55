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
//	│ closing: the final message and the close frame   │──► detached from its session
//	└──────────────────────────────────────────────────┘
//
// Each connection has one goroutine, which waits for input with a stack of 2 KiB. It handles one
// message, starts a new goroutine that waits for the next message, and ends (see conn.serve). The
// messages of a connection are therefore handled in order. While the first message is handled, the
// new goroutine already reads: if the client hangs up, its join or resume is cancelled. To the most
// frequent message, the heartbeat, the waiting goroutine replies without a new goroutine.
//
// Any goroutine may write. Messages are not queued: a write succeeds within the write timeout, or
// the connection is closed with 4002. The kernel's send buffer is small (sendBuffer), so a write to
// a client that does not read blocks soon.
//
// Read deadlines use no timers: a sweep checks all connections once a second.
//
// A first message passes these checks in this order: its form; whether the node drains; the rate
// limit of its address; for a join, the credential and its holder's rate limit; for a resume, the
// resume key; Config.JoinRate; and then Sessions. Each message, ping and pong counts for the message
// rate, and a long message counts once more for each further KiB.
//
// Locks: a session holds its mutex while it calls its session.Client. Therefore this package never
// holds a mutex while it calls an Attachment, and no method of session.Client calls the session.
package ws
