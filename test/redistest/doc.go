// Package redistest starts real Redis servers for tests, the redis-server of
// Debian, and breaks them on purpose.
//
//   - Start: one server, on a TCP port of 127.0.0.1 and a Unix socket.
//   - StartTLS: the same with TLS, under a certificate authority of its own.
//   - StartTLSFor, StartClusterTLS, StartSentinelTLS: with certificates of an
//     Authority, one for each server's own address or name, and asking for one.
//   - StartCluster: three masters with a replica each.
//   - StartSentinel: a master, a replica, and three sentinels that watch them.
//   - StartProxy: a TCP proxy before a server, for a network that fails.
//
// A server can be killed, restarted on its port, and stopped as if its machine
// hung, and can refuse writes for each reason that Redis has (RefuseWrites). It is asked for its CPU time, memory and commands, so that a test can
// say what a piece of work costs Redis.
//
// # What holds
//
//   - Nothing polls or sleeps. What a server does is read from its log, and a
//     test waits there for the line that says so. Half a minute without it fails
//     the test, with the end of the log.
//   - A test touches only what it has started itself, and everything is gone at
//     its end: processes, files, goroutines. The processes even die with a test
//     binary that is killed (on Linux).
//   - A machine without redis-server fails the test; make setup installs it.
//   - The methods fail the test that started the server, so they are for its
//     goroutine. Try alone is for any.
//
// # Differences from a server in production
//
// Nothing is kept on disk, unless the configuration says so: a server comes back
// empty from Restart. Every server knows a user named redistest that may do all,
// so that Do gets in whatever the configuration says of the others; for that, a
// configuration cannot have an aclfile. Replicas are synchronised at once, and
// clusters and sentinels notice a dead server in one or two seconds rather than
// fifteen or thirty.
package redistest
