// Package listen opens ports, TCP or Unix sockets, and serves HTTP on them. A Server
// bounds what a client may send and how long it may take, reads the PROXY headers of
// trusted proxies, and limits the log lines that clients can cause. Descriptors keeps file
// descriptors back from clients, for probes, Redis and files.
package listen
