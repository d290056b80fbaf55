// Package ws keeps the connections: it upgrades HTTP requests to WebSockets,
// reads and checks what clients say, hands that to the sessions, writes what
// sessions say, finds the connections that are dead, and sends clients away
// when the node goes. It knows the protocol and its limits; it does not know
// when tokens are renewed, how they are made, or where sessions are kept.
//
// # A connection's life
//
//	 HTTP request
//	      │ upgrade; the HTTP handler returns and its memory is let go
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
// # Who does what
//
// One goroutine per connection reads, and has each message handled by a worker
// before it reads the next, so that calls into the session come one at a time.
// Whoever has something to say writes it, under a write deadline that
// the connection sets itself; the WebSocket library serialises frames. A client
// that does not read costs its writer one deadline, once: its connection is
// closed with 4002. The deadline is the message's, however many writes it takes.
// The kernel buffers little (sendBuffer), so that a write soon waits for the client, and
// what is unsent is dropped with the connection.
// Closing runs beside the reader, for as long as the closing handshake takes.
//
// Deadlines for the first message and for heartbeats are not timers: each
// connection keeps the moment by which it must say something, and a sweep
// looks at all of them about once a second. While a message is handled the client
// has nothing to say. One that is late is sent a ping: a browser answers for a page
// whose timers it has slowed down.
//
// Who may join, and how often, is for Access to say: first by the client's address,
// then, for a join, by its credential. The key of a resume is opened by Sessions. Only a
// valid credential or key takes a turn of Config.JoinRate.
//
// One rate limits what a client sends. A message, a ping and a pong each cost one, and so
// does each KiB of a message beyond its first, counted as it arrives: the library reads
// the fragments of a message by itself.
//
// # What is guaranteed
//
// Messages of one session are written in the order in which the session made
// them. Nothing is queued: a message is written, or its connection is closed.
// Delivery is the session's affair, by seq and ack.
//
// # Locks
//
// A session's lock may be held while a connection is written to, never the
// other way round: nothing here calls an Attachment with a lock held, and no
// method of session.Client calls back into the session.
package ws
