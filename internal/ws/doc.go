// Package ws has the WebSocket connections: it upgrades HTTP requests, reads and checks
// what clients send, hands it to their sessions, writes what sessions send, closes dead
// connections, and sends clients away when the node stops.
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
// One goroutine per connection waits for input, in 2 KiB of stack, handles a message, and gives
// its place to a new one (see conn.serve): messages of a connection are handled one after the
// other. While the first is handled the new one waits already: if the client hangs up, its
// join or resume is given up. Heartbeats are answered without any of that.
//
// Any goroutine may write. Nothing is queued: a message is written within the write
// timeout, or the connection is closed with 4002. The kernel buffers little (sendBuffer),
// so a write soon notices a client that does not read.
//
// Deadlines for messages are no timers: a sweep checks all connections once a second.
//
// A first message is checked in this order: form, drain, rate of the address, credential
// and its holder's rate (join) or key (resume), Config.JoinRate, then Sessions. Messages,
// pings, pongs, and each KiB of a message beyond its first, count for the rate of messages.
//
// Locks: a session's lock may be held while a connection is written to. So nothing here
// calls an Attachment with a lock held, and no session.Client method calls its session.
package ws
