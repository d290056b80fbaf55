// Package chaos tests the service while its parts fail. It runs the service as it is
// deployed: several nodes, each a process of its own, with a real Redis and calls that go on
// throughout. The tests kill processes, stop them by SIGSTOP, and replace them as a deployment does.
//
// # What is measured
//
// Package client runs each call, with tokens that live for seconds. The call joins
// web/demo/edge, a stand-in for Agora's servers, which admits and drops a call by its token alone
// and records what happens. Every scenario demands the same of that record: no call-second was
// lost, no call was dropped, none joined twice, and each was renewed as often as the duration
// requires. Besides, each call keeps a record of what it received from the service: see
// calls.Tally.
//
// # How the nodes are reached
//
// A nodetest.Fleet stands for nodes behind a load balancer. Each connection goes to a random
// node, and to the next one if that node refuses it. It never goes to a node that hangs, since
// the health checks of a balancer would have removed that node. A node that is started again
// has the same port.
//
// # How tests wait
//
// Tests wait for events: lines in a node's log, and renewals of calls. A fault is over when
// every call has been renewed since. Tests wait for a duration only if time itself causes the
// fault, as when a lease expires, and to make a scenario last longer.
//
// A scenario spends nine tenths of its time waiting and shares nothing with another. So
// scenarios run in parallel: four at a time in make test, one at a time in make chaos.
//
// # Settings
//
// By default the scenarios are short. For figures:
//
//	CHAOS_SECONDS=180 CHAOS_CALLS=300 go test -v -parallel 1 -timeout 1h ./test/chaos
//
// CHAOS_SECONDS is the total duration of the faults of each scenario; the time to wait for
// events is added to it. CHAOS_CALLS is the number of calls. The log of a node is deleted at
// the end of its test, unless the test failed and go test has -artifacts.
package chaos
