// Package planner computes the resources for a service of a given size (nodes, memory, CPU, Redis,
// network), and how a reconnect storm proceeds. It is arithmetic on measured unit costs, which are
// all in costs.go.
//
// Simulate checks the formulas: it simulates each call with the session's own rules and the client's
// own state machine. Tests state how far the two may differ. Plan.Rehearse compares both for any
// plan.
//
// The package is pure: no I/O, no clock, nothing but the standard library and the rules
// of packages session, protocol and internal/client.
//
// # Units
//
// Rates are per second, CPU times in microseconds, sizes in bytes. A core is a CPU core that only the
// service uses.
package planner
