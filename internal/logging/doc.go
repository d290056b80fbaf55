// Package logging writes the log without making anybody wait for it. A service whose
// log goes to a pipe depends on whoever reads that pipe: a reader that stopped would
// block each call that logs, and one that went away would end the process.
//
//   - A line is queued, and written by one goroutine, in order.
//   - While the output blocks or fails, up to 1 MiB waits. Further lines are dropped
//     and counted, and a line of the log says how many, once the output takes lines
//     again. Calls never wait.
//   - Close writes what still waits, for up to two seconds.
//
// What callers wrote is in some lines: Printable keeps it from harming whoever reads
// them.
//
// A write to standard output or standard error whose reader has gone raises SIGPIPE,
// which ends a Go program. IgnoreBrokenPipe is for services, which go on; commands
// whose output is what they are for keep the default, so that `refresher … | head`
// ends.
package logging
