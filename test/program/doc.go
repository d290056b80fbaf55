// Package program runs real programs for tests: servers and proxies as they are
// deployed, each a process of its own.
//
//   - Start runs a program. It dies with the test binary, even if that is killed
//     (on Linux; guarded, anywhere and with its children).
//   - Journal keeps what a program says, and wakes those who wait for a line.
//   - Port and Address find a port that is free.
//   - CPU, Resident and Slab say what programs and the kernel use, on Linux.
//
// Nothing here polls or sleeps: a test waits for a line or for the program's end.
// Whoever starts a program ends it, in a t.Cleanup, with Kill.
package program
