// Package program runs real programs for tests: servers and proxies as they are deployed, each
// a process of its own.
//
//   - Start runs a program. On Linux the program dies with the test binary, even if that is
//     killed. With Command.Guarded the program and its children die with it on any system.
//   - Journal keeps a program's output, and lets a test wait for a line of it.
//   - Port and Address find a free port.
//   - CPU, Resident and Slab measure what programs and the kernel use, on Linux.
//
// The package does not poll or sleep: a test waits for a line or for the program's end. The
// test that starts a program must end it with Kill, in a t.Cleanup.
package program
