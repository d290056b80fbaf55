// Package chaos breaks the service as it is deployed: several nodes, each a
// process of its own, a real Redis between them, and calls that are held all
// the while. What breaks are processes: they are killed, stopped in their tracks,
// and deployed anew. There is nothing here but tests.
//
// # What is measured
//
// Each call is held by package client with tokens that live seconds, at the
// judge of web/demo/edge, which admits and drops by the token alone. The verdict on
// a scenario is the promise of the service: no call-second lost, no call
// dropped, none joined twice, and each renewed as often as the time that passed
// asks for. Besides the judge's record each call keeps its own, from what the
// service told it: see calls.Tally.
//
// # How the nodes are reached
//
// A nodetest.Fleet stands for nodes behind a load balancer: each connection goes to one
// of them at random, to the next one at once if that refuses, and never to one
// that hangs, which the balancer's health checks would have taken out. A node
// keeps its port when it is started again.
//
// # How tests wait
//
// For events: lines in a node's log, renewals of calls. A fault is over when
// every call has been renewed since. The clock alone is waited for where time
// itself is what breaks things, as in a lease that runs out, and where a
// scenario is made to last longer.
//
// A scenario waits for nine tenths of its time and shares nothing with another, so
// scenarios run side by side: four at a time in make test, one at a time in make chaos.
//
// # Settings
//
// By default the scenarios are short. For figures:
//
//	CHAOS_SECONDS=180 CHAOS_CALLS=300 go test -v -parallel 1 -timeout 1h ./test/chaos
//
// CHAOS_SECONDS is how long faults last and follow each other, in all, for each
// scenario; waiting for events comes on top. CHAOS_CALLS is how many calls are
// held. The log of a node ends with its test; with go test's -artifacts it is
// kept, if the test failed.
package chaos
