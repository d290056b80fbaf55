// Package client implements the client's side of the protocol as a state machine without I/O.
// Three programs use it: the public package client over a WebSocket library, the load
// generator over its own frames, and the planner in simulated time.
//
// # States
//
//	Waiting     no connection, until the time of the next attempt
//	Connecting  a WebSocket is being opened
//	Greeting    join or resume was sent
//	Live        joined
//	Leaving     leave was sent
//	Ended       finished for good
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
// One bundle is applied at a time, in any state. If bundles arrive meanwhile, the newest one
// waits. A bundle is acked or nacked when the app has applied or refused it. If the connection
// is lost before that, seq in the next resume says which bundle the app has.
//
// The caller passes the time of its own clock, which the Machine compares only with other
// times of that clock. Expiries are on the service's clock; each bundle has the service's
// time, from which the Machine computes the difference.
package client
