// Package logging writes the log in the background. If the log goes to a pipe whose
// reader stops, a direct write would block its caller; if the reader exits, SIGPIPE
// would end the process.
//
//   - A line is queued, and written by one goroutine, in order.
//   - While the output blocks or fails, up to 1 MiB waits. Further lines are dropped
//     and counted, and a line of the log says how many, once the output takes lines
//     again. Calls never wait.
//   - Close writes what still waits, for up to two seconds.
//
// Some lines quote text from clients. Printable escapes what could change how a line is
// displayed.
//
// A write to standard output or standard error whose reader has gone raises SIGPIPE,
// which ends a Go program. IgnoreBrokenPipe is for services, which go on; commands
// whose output is what they are for keep the default, so that `refresher … | head`
// ends.
package logging
