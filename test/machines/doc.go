// Package machines tests docs/operate/two-machines.md and the commands of the runbook by
// running them. Folders replace /etc, and loopback addresses replace the two machines; the
// programs are real (openssl, redis-server, refresher, haproxy, promtool).
package machines
