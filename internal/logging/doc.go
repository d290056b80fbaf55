// Package logging writes the log in the background. If the log goes to a pipe whose reader stops, a
// direct write would block its caller. If the reader exits, SIGPIPE would end the process.
//
//   - A line is queued; one goroutine writes the lines in order. Logging never blocks its caller.
//   - While the output blocks or fails, up to 1 MiB of lines is queued. Further lines are dropped and
//     counted. Once the output works again, a line of the log reports how many were dropped.
//   - Close writes the queued lines, for at most two seconds.
//
// Some lines quote text from clients. Printable escapes the characters in it that could change how
// the line is displayed.
//
// A write to standard output or standard error whose reader has exited raises SIGPIPE, which ends a
// Go program. Services call IgnoreBrokenPipe and go on. Other commands keep the default, so that
// `refresher … | head` ends when head does.
package logging
