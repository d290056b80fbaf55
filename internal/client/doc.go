// Package client implements the client's side of the protocol as a state machine without I/O.
// Three programs use it: the public package client with a WebSocket library, the load generator
// with its own frames, and the planner in simulated time.
//
// # States
//
//	Waiting     there is no connection, and the next attempt is not due yet
//	Connecting  the caller is opening a WebSocket
//	Greeting    the client has sent a join or a resume
//	Live        the client has received the message `joined`
//	Leaving     the client has sent a leave
//	Ended       the client does nothing any more
//
//	from                       event                           to          action
//	Waiting                    the attempt is due              Connecting  connect
//	Connecting                 Opened                          Greeting    send join or resume
//	Greeting                   joined                          Live        apply its tokens
//	Greeting                   joined, after Leave             Leaving     send leave
//	Live                       Leave                           Leaving     send leave
//	Connecting, Greeting, Live Closed: retry                   Waiting     wait for the backoff, or as reconnect said
//	Greeting, Live             Closed: join afresh             Waiting     forget the session; the attempt is due now
//	Greeting                   no joined for AnswerTimeout     Waiting     drop the connection
//	Live                       no answer to ping for Patience  Waiting     drop the connection
//	Greeting, Live             a deadline is 5 s late          Waiting     drop the connection and its unread messages
//	Greeting, Live             the time set by reconnect       Waiting     drop the connection
//	Connecting, Greeting, Live Closed: stop                    Ended       report the reason
//	Waiting, Connecting        Leave, and there is no session  Ended
//	Leaving                    Closed                          Ended
//	any                        leaveTimeout after Leave        Ended       leave over HTTP
//
// Package protocol has the table of close codes and their consequences: retry, join afresh, stop.
// In the browser library, the first three states are "connecting" before the first message `joined`
// and "away" after it, Live is "live", and the last two are "ended".
//
// # Tokens
//
// A bundle is one new token for each service of the session. The app applies one bundle at a time,
// in any state. If more bundles arrive meanwhile, the newest one waits. When the app has applied or
// refused a bundle, it is acked or nacked. If the connection is lost before that, seq in the next
// resume says which bundle the app has.
//
// The caller passes times of its own clock, and the Machine compares them only with each other.
// The expiry of a bundle is on the service's clock. Each bundle has the service's current time, from
// which the Machine computes the difference between the two clocks.
package client
