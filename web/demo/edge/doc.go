// Package edge is a stand-in for Agora's edge, the media servers that admit calls
// by token and end them when the token runs out. It is two things:
//
//   - The judge of the end-to-end tests. They put calls on it, let the service
//     keep them in tokens, and then ask one figure of it: how many call-seconds
//     were lost.
//   - What holds the call of the demo page, so that `refresher demo` shows a call
//     that lives and dies by its real tokens, with no Agora project and no network.
//
// # What it knows and must not
//
// It knows Agora's token formats, what Agora's edge and SDKs do with tokens, and
// nothing else. It shares no code with the product and none with Agora's
// builders: it imports the standard library alone, and a test holds it to that.
// A judge that parsed tokens with the parser of the accused would agree with
// every mistake in it. For the same reason the service does not know it: tests,
// web/demo and the commands may import it, and no other package.
//
// Where Agora's behaviour is not documented it is the stricter of what is
// plausible, so that a product which passes here need not rely on leniency.
//
// # Admission
//
// A token of version 006 or 007 admits if it is 1 to 2047 bytes long, well
// formed, for this App ID, signed with one of the certificates, for this channel
// and user (an RTC token with an empty uid is for any user; uid 123 and account
// "123" are the same), holds the privilege to join, and has run out neither
// itself nor in that privilege. It ends in the second that it names, not after:
//
//	       token                        privilege to join
//	007    issued + expire              issued + its seconds; 0 = never
//	006    ts                           its seconds; 0 = never
//
// In 007 both are cut to 24 h. A client that joins RTC as user "" or "0" leaves
// the uid to Agora, so only a token with an empty uid admits it; this edge
// assigns no uid, all of them are user "0" here. Two clients in a channel as the
// same user do not go together: the later throws the earlier out.
//
// Refusals carry the numbers of Agora's native SDKs: see the Code constants. An
// unknown App ID is 101 in a join, and 110 in a renewal.
//
// # In a call
//
// Let the end be the earlier of the token's and the privilege's. WarnBefore (30
// s) before it, or at once if less is left, goes token-privilege-will-expire, one
// for each token. At the end the call is dropped: token-privilege-did-expire goes
// and the client is out. But the SDKs watch the privilege only: where the token
// ends before it, the drop comes in silence, with no event before or after.
//
// A renewal must pass what a join must, for the same channel and user. Accepted,
// it sets the end and the right to publish by the new token, be it more or less.
// Refused, it leaves all as it was. In RTM the token in use, handed in again, is
// accepted and ignored. After a drop a renewal is refused with INVALID_OPERATION
// (113), and only a join helps.
//
// To publish means to hold all of the privileges audio, video and data (2 to 4)
// unexpired, as a publisher's token does.
//
// # Certificates
//
// Two may be valid at once, and [Edge.SetCertificates] replaces them while calls
// go on, as an operator does in Agora's console. Tokens of one that is gone are
// void at once: they admit nobody and renew nothing, and are refused as invalid
// (110). Who is in a call by such a token stays in it up to the token's end, since
// a token is looked at only when it is handed in. A renewal with one that is signed
// with a valid certificate keeps the call; without it the call is dropped, and the
// old tokens don't bring it back.
//
// # What counts
//
// A call is one user in one channel (RTC) or one user's login (RTM, Chat), over
// however many joins. Of each call the record holds:
//
//   - Held seconds: from each admission to its drop, leave, break, or ousting by
//     the same user; or up to now.
//   - Lost seconds: from each drop, that is from the second at which the token or
//     its privilege ended, to the next admission to the same call, on whichever
//     connection, or to the leave that says that the user won't come back; or up to
//     now. A refused join does not end a loss. A second before the first admission
//     is neither held nor lost.
//   - Renewals accepted, without RTM's ignored ones; and refused, with those that
//     came after a drop, without those after a leave.
//   - Minimum margin: the least life that was left in the old token, by its end as
//     above, when a renewal was accepted.
//   - Drops, and how many of them were silent; joins, accepted and refused.
//   - Breaks: connections that ended without a leave.
//
// A connection that ends with a call on it stands for a broken media connection:
// the call is left, and what follows is not charged to tokens. As this could hide
// a failure, breaks are counted: a test in which no network fails can demand that
// there be none but its own. A connection that breaks after the drop does not end
// the loss if the same call is joined again later, since the user was without it all
// the while; if it never is, the loss ends at the break.
//
// Reading the record changes nothing, and the total is the sum over the calls.
//
// # Line protocol
//
// Over TCP, one JSON object a line, 8 KiB at most with its newline; the demo's
// WebSocket has each line in a text frame. A connection stands for one client and
// holds up to three legs: rtc, rtm, chat. Requests are carried out in order, and
// each is answered by one line with its id (1 or more). Events come in between;
// none caused by a token precedes the answer that accepted it.
//
//	→ {"op":"join","leg":…,"channel":…,"user":…,"token":…,"id":…}   channel for rtc only
//	→ {"op":"renew","leg":…,"token":…,"id":…}
//	→ {"op":"leave","leg":…,"id":…}
//	← {"id":…,"ok":true}   for an rtc join or renew with "publish":true or false
//	← {"id":…,"ok":false,"code":…,"error":…}
//	← {"event":"token-privilege-will-expire","leg":…}
//	← {"event":"token-privilege-did-expire","leg":…}
//	← {"event":"connection-state-change","leg":…,"reason":"UID_CONFLICT"}   or SAME_USER_LOGIN
//
// A line that is not understood is answered with code 2, and with id 0 if its id
// cannot be made out; the connection goes on. A client that doesn't read what it
// is sent is cut off.
//
// A worked transcript, which a test plays. P60 is a publisher's token for user 7
// in channel room that lives 60 s from the start, A200 one of 200 s in the role of
// audience, P400 a publisher's again; HALL is for channel hall, and M is user 7's
// RTM token.
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
// Ends are whole Unix seconds of the wall clock. A timer wakes a call, the wall
// clock decides; and every operation first drops what is over, so that no figure
// depends on how punctual a timer was. All of it runs in a testing/synctest bubble,
// the line protocol too over net.Pipe.
package edge
