// Package agora mints, parses, verifies and explains Agora's access tokens. It is the only package
// that imports Agora's Go module. It does no I/O: the caller provides the identity, the times and
// the App Certificate, and gets the token's text.
//
// It implements the token formats and Agora's rules for names and lifetimes. Other packages decide
// who may have a token and when it is renewed. No error, log line or format verb of this package
// reveals an App Certificate.
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
// A 006 token expires only through its privileges: ts is always the issue time plus 24 hours, as
// in all of Agora's builders. Chat has no 006 format, so its tokens are 007 in every
// [session.Format]. A 006 token has one service, so a token for RTC and RTM together is 007.
//
// Agora silently cuts a lifetime to 24 hours, and its SDKs call no callback if a token expires
// before its privileges. So a lifetime here is 1 to 86400 seconds, and all privileges expire
// together with their token.
//
// # Why this package implements the 007 envelope itself
//
// This package uses Agora's code for service types, privileges and the 006 format. But Agora's 007
// builder takes a hundred times as long as the signature (a new deflate writer and a reseeded
// random source for each token, 800 KB of garbage), and its parser checks no signature, panics on
// malformed input and inflates without a limit. Therefore this package writes and reads the 007
// envelope itself. Any zlib stream is valid, so it stores the content uncompressed, as Agora's Rust
// builder does for short tokens. Tests check that Agora's Go and Node packages accept these tokens,
// and that this package accepts theirs.
package agora
