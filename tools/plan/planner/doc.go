// Package planner computes what a service of a given size needs: nodes, memory,
// processors, Redis, network, and how it gets through a storm of clients that come
// back together. It is arithmetic on measured unit costs, which stand in costs.go
// and nowhere else.
//
// The formulas are checked against Simulate, which plays the calls one by one with
// the session's own rules and the clients' own state machine; the tests state how far the
// two may differ. Plan.Rehearse sets the one beside the other for any plan.
//
// The package is pure: no I/O, no clock, nothing but the standard library and the rules
// of packages session, protocol and internal/client.
//
// # Units
//
// Rates are a second, processor time is in microseconds, sizes are in bytes. A core
// is one that does nothing else.
package planner
