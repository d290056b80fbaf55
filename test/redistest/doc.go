// Package redistest starts real Redis servers for tests, from Debian's redis-server, and makes
// them fail on purpose.
//
//   - Start: one server, on a TCP port of 127.0.0.1 and a Unix socket.
//   - StartTLS: the same with TLS, under its own certificate authority.
//   - StartTLSFor, StartClusterTLS, StartSentinelTLS: servers with certificates of an
//     Authority, each for the server's own address or name. They require a certificate of
//     their clients.
//   - StartCluster: three masters with a replica each.
//   - StartSentinel: a master, a replica, and three sentinels that watch them.
//   - StartProxy: a TCP proxy in front of a server, to simulate a network that fails.
//
// A test can kill a server, restart it on its port, stop it as if its machine hung, and make
// it refuse writes for each reason that Redis has (RefuseWrites). A server reports its CPU
// time, memory and number of commands, so that a test can measure what an operation costs
// Redis.
//
// # Rules
//
//   - The package does not poll or sleep. A test waits for a line in a server's log; after
//     half a minute without this line the test fails, and shows the end of the log.
//   - A test affects only the servers that it started itself. Their processes, files and
//     goroutines are gone at its end. On Linux the processes also die if the test binary is
//     killed.
//   - A machine without redis-server fails the test; make setup installs it.
//   - Only the goroutine of the test that started the server may use the methods, since they
//     can fail the test. Any goroutine may use Try.
//
// # Differences from a server in production
//
// A server keeps nothing on disk unless its configuration says so: after Restart it is empty.
// Every server has a user named redistest with all rights, so that Do works whatever the
// configuration says about other users. For this reason a configuration cannot have an
// aclfile. Replicas are synchronised at once, and clusters and sentinels notice a dead server
// within one or two seconds instead of fifteen or thirty.
package redistest
