// Package edge is a stand-in for Agora's edge: the media servers that admit calls by token and
// end them when the token expires. It has two uses:
//
//   - It judges the service in the end-to-end tests: their calls join here with the tokens of the
//     service, and the tests check how many call-seconds were lost.
//   - It holds the call of the demo page, so that `refresher demo` shows a call that depends on its
//     tokens, without an Agora project and without a network.
//
// # Independence
//
// The package implements Agora's token formats and what Agora's edge and SDKs do with tokens. It
// shares no code with the service or with Agora's token builders: it imports only the standard
// library, and the linter enforces that. If it used the service's parser, it would not notice a
// mistake in that parser. For the same reason only tests, web/demo and the commands may import
// this package.
//
// Where Agora's behaviour is not documented, the edge implements the stricter of the plausible
// behaviours, so that the service cannot depend on leniency.
//
// # Admission
//
// A token of version 006 or 007 admits a client if all of this holds:
//
//   - It is 1 to 2047 bytes long and well formed.
//   - It is for this App ID, and signed with one of the certificates.
//   - It is for this channel and user. An RTC token with an empty uid is for any user; uid 123
//     and account "123" are the same user.
//   - It has the privilege to join, and neither the token nor this privilege has expired.
//
// A token is invalid from the second of its expiry on:
//
//	       token                        privilege to join
//	007    issued + expire              issued + its seconds; 0 = never
//	006    ts                           its seconds; 0 = never
//
// In version 007 both lifetimes are limited to 24 h. A client that joins RTC as user "" or "0" lets
// Agora choose the uid, so only a token with an empty uid admits this client. This edge assigns no
// uids: all such clients are user "0" here. If a second client joins a channel as the same user,
// the edge removes the first client.
//
// Refusals have the error numbers of Agora's native SDKs: see the Code constants. A token for
// another App ID is refused with 101 in a join, and with 110 in a renewal.
//
// # In a call
//
// The end of a call is the expiry of the token or of the privilege, whichever is earlier.
// WarnBefore (30 s) before the end, or at once if less time is left, the edge sends
// token-privilege-will-expire, once for each token. At the end it sends
// token-privilege-did-expire and drops the call. But the SDKs watch only the privilege: if the
// token expires before its privilege, the call is dropped without any event.
//
// A renewal must fulfil the same conditions as a join, for the same channel and user. An
// accepted renewal sets the end and the right to publish to those of the new token, even if the
// new token expires earlier or grants less. A refused renewal changes nothing. In RTM, a renewal with the token that
// is already in use is accepted and ignored. After a drop a renewal is refused with
// INVALID_OPERATION (113), and the client must join again.
//
// A client may publish if its token has the privileges for audio, video and data (2 to 4), as a
// publisher's token has, and none of them has expired.
//
// # Certificates
//
// Two certificates may be valid at once. [Edge.SetCertificates] replaces them during calls,
// like an operator in Agora's console. Tokens of a removed certificate are refused at once, as
// invalid (110), in joins and renewals. A client that is in a call with such a token stays
// until the token expires, since the edge checks a token only when it receives it. A renewal
// with a token of a valid certificate keeps the call. Without such a renewal the call is dropped,
// and a client cannot join it again with a token of the removed certificate.
//
// # What counts
//
// A call is one user in one channel (RTC) or one user's login (RTM, Chat), over all its joins.
// The record has for each call:
//
//   - Held seconds: from each admission until the call's drop, leave or break, until the same
//     user joins elsewhere, or until now.
//   - Lost seconds: from each drop, which is the second in which the token or its privilege
//     expired, until the next admission to the same call on any connection, until a leave,
//     which says that the user will not come back, or until now. A refused join does not end a
//     loss. Time before the first admission is neither held nor lost.
//   - Renewals accepted, except those that RTM ignores. Renewals refused, including those
//     after a drop but not those after a leave.
//   - Minimum margin: the shortest remaining life of the old token, until the end as defined
//     above, when a renewal was accepted.
//   - Drops, and how many of them were silent; joins, accepted and refused.
//   - Breaks: connections that ended without a leave.
//
// If a connection ends during a call, that simulates a broken media connection: the call has
// ended, and the time afterwards does not count as lost. Since this could hide a failure, breaks
// are counted, and a test without network failures can demand that there are none. If a connection
// breaks after a drop, the loss depends on what follows: if the user joins the same call again,
// the loss lasts until that join, since the user was out of the call all the time. Otherwise the
// loss ends at the break.
//
// Reading the record changes nothing, and the total is the sum over the calls.
//
// # Line protocol
//
// The protocol runs over TCP, with one JSON object on each line of at most 8 KiB, including
// the newline. The demo's WebSocket has each line in a text frame. A connection stands for one
// client and has up to three legs: rtc, rtm, chat. The edge executes requests in order, and
// answers each by one line with its id (1 or more). Events may come in between, but an event
// that a token causes never precedes the answer that accepts the token.
//
//	→ {"op":"join","leg":…,"channel":…,"user":…,"token":…,"id":…}   channel for rtc only
//	→ {"op":"renew","leg":…,"token":…,"id":…}
//	→ {"op":"leave","leg":…,"id":…}
//	← {"id":…,"ok":true}   for an rtc join or renew with "publish":true or false
//	← {"id":…,"ok":false,"code":…,"error":…}
//	← {"event":"token-privilege-will-expire","leg":…}
//	← {"event":"token-privilege-did-expire","leg":…}
//	← {"event":"connection-state-change","leg":…,"reason":"UID_BANNED"}   or SAME_USER_LOGIN
//
// A line that cannot be parsed is answered with code 2, and with id 0 if its id cannot be read
// either; the connection stays open. A client that does not read the lines that it is sent is
// disconnected.
//
// A test plays the following transcript. The tokens are for user 7 in channel room, unless
// another is named. P60 is a publisher's token that expires 60 s after the start, A200 a
// token for the audience that expires 200 s after it, P400 a publisher's token again. HALL is for
// channel hall, and M is an RTM token.
//
//	> {"op":"join","leg":"rtc","channel":"room","user":"7","token":"P60","id":1}
//	< {"id":1,"ok":true,"publish":true}
//	> {"op":"join","leg":"rtm","user":"7","token":"M","id":2}
//	< {"id":2,"ok":true}
//	  … 30 s later
//	< {"event":"token-privilege-will-expire","leg":"rtc"}
//	> {"op":"renew","leg":"rtc","token":"HALL","id":3}
//	< {"id":3,"ok":false,"code":110,"error":"ERR_INVALID_TOKEN: the token is for channel \"hall\", not \"room\""}
//	> {"op":"renew","leg":"rtc","token":"A200","id":4}
//	< {"id":4,"ok":true,"publish":false}
//	  … 140 s later
//	< {"event":"token-privilege-will-expire","leg":"rtc"}
//	  … 30 s later, as nobody renewed
//	< {"event":"token-privilege-did-expire","leg":"rtc"}
//	> {"op":"renew","leg":"rtc","token":"P400","id":5}
//	< {"id":5,"ok":false,"code":113,"error":"INVALID_OPERATION: the token ran out and the call with it: join again"}
//	> {"op":"join","leg":"rtc","channel":"room","user":"7","token":"P400","id":6}
//	< {"id":6,"ok":true,"publish":true}
//	> {"op":"leave","leg":"rtc","id":7}
//	< {"id":7,"ok":true}
//	> {"op":"leave","leg":"rtc","id":8}
//	< {"id":8,"ok":false,"code":113,"error":"INVALID_OPERATION: not in a call on rtc"}
//
// # Time
//
// Ends are whole Unix seconds of the wall clock. A timer wakes a call, but the wall clock
// decides whether it has ended. Every operation first drops the calls that have ended, so that
// no figure depends on the accuracy of a timer. The package works in a testing/synctest
// bubble, including the line protocol over net.Pipe.
package edge
