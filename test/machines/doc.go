// Package machines holds docs/operate/two-machines.md and the commands of the runbook to what
// they say, by running them: with folders in place of /etc, loopback addresses in
// place of two machines, and real programs (openssl, redis-server, refresher, haproxy,
// promtool).
package machines
