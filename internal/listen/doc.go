// Package listen opens TCP ports and Unix sockets and serves HTTP on them. A Server limits the size and
// duration of requests, reads the PROXY headers of trusted proxies, and limits the log lines that clients can
// cause. Descriptors reserves file descriptors for probes, Redis and files.
package listen
