// Package client is the client's side of the protocol as one state machine without I/O.
// Three programs drive it: the public package client over a WebSocket library, the load
// generator over frames of its own, and the planner over simulated time.
//
// # States
//
//	Waiting     no connection; the next attempt has its time
//	Connecting  a WebSocket is being opened
//	Greeting    join or resume was sent
//	Live        joined
//	Leaving     leave was sent
//	Ended       for good
//
//	from                       on                              to          and
//	Waiting                    its time                        Connecting  connect
//	Connecting                 Opened                          Greeting    send join or resume
//	Greeting                   joined                          Live        apply its tokens
//	Greeting                   joined, after Leave             Leaving     send leave
//	Live                       Leave                           Leaving     send leave
//	Connecting, Greeting, Live Closed: retry                   Waiting     for the backoff, or as reconnect said
//	Greeting, Live             Closed: join afresh             Waiting     for nothing; forget the session
//	Greeting                   no joined for AnswerTimeout     Waiting     drop the connection
//	Live                       no answer to ping for Patience  Waiting     drop the connection
//	Greeting, Live             a deadline is 5 s late          Waiting     drop the connection and what waits in it
//	Greeting, Live             the time that reconnect named   Waiting     drop the connection
//	Connecting, Greeting, Live Closed: stop                    Ended       say why
//	Waiting, Connecting        Leave, and there is no session  Ended
//	Leaving                    Closed                          Ended
//	any                        leaveTimeout after Leave        Ended       leave over HTTP
//
// What a close means (retry, join afresh, stop) is in the table of package protocol. For
// the browser library, the first three states are "connecting" before the first joined
// and "away" afterwards, Live is "live", and the last two are "ended".
//
// # Tokens
//
// One bundle is applied at a time, whatever the state; the newest that comes meanwhile
// waits. It is acked or nacked when the app is done with it. If the connection is lost by
// then, seq in the next resume says what the app has.
//
// The caller reads the clock; moments of it are compared with each other only. Expiries
// are by the service's clock, whose difference from the caller's comes with each bundle.
package client
