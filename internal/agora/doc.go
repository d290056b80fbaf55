// Package agora mints, parses, checks and explains Agora's access tokens. It is the
// only package that imports Agora's Go module, and it does no I/O: the caller
// brings the identity, the times and the App Certificate, and gets text.
//
// It knows the formats and Agora's rules for what goes into them. It does not
// know who may have a token, when one is due, or how it reaches a client; and
// it lets no certificate out, by no error, log line or format verb.
//
// # Formats
//
// Integers are little-endian, a string is a 16-bit length and its bytes, and
// a map is a 16-bit count and then keys (16 bits) with values (32 bits),
// keys ascending.
//
// 007, from accesstoken2 in Agora's Go module:
//
//	"007" base64(zlib(string signature, body))
//	body      = string appId, issuedAt, lifetime, salt, 16-bit count, services
//	service   = 16-bit type, map of privilege to lifetime, the service's names
//	key       = HMAC(salt, HMAC(issuedAt, certificate))    [HMAC(key, message)]
//	signature = HMAC(key, body)                            [HMAC-SHA256]
//
// 006, from AccessToken in the same module:
//
//	"006" appId base64(string signature, CRC32(channel), CRC32(user), string message)
//	message   = salt, ts, map of privilege to Unix seconds
//	signature = HMAC(certificate, appId channel user message)
//
// A 006 token has no expiry but its privileges': ts is the issue time plus 24
// hours, whatever the lifetime, as in all of Agora's builders. Chat has no 006
// form, so its tokens are 007 in every [session.Format]; and a 006 token holds
// one service, so a token for RTC and RTM together is 007.
//
// Agora cuts a lifetime to 24 hours without a word, and fires no SDK callback
// when a token ends before its privileges. So a lifetime here is 1 to 86400
// seconds, and every privilege ends with its token.
//
// # Why the 007 envelope is ours
//
// Service types, privileges and the whole 006 format are Agora's code. Its 007
// builder, though, costs a hundred times what the signature does (a new
// deflate writer and a reseeded random source for each token, 800 KB of
// garbage), and its parser checks no signature, panics on malformed input and
// inflates without a bound. This package therefore writes and reads the
// envelope itself. Any zlib stream is a valid token, so it stores the content
// uncompressed, as Agora's Rust builder does for short ones; the tests hold
// the result to Agora's Go and Node packages in both directions.
package agora
