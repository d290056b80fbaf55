// Package nodetest runs the service for tests as it is deployed: each node a
// `refresher serve` process of its own.
//
//   - Main is for a package's TestMain: the program is built once, when the first
//     node starts, without the race detector, and removed at the end.
//   - New prepares a node, with flags; Start, Stop, Kill, Pause and Resume do to
//     it what deployments, crashes and machines that hang do.
//   - Node.Metric and Node.Get ask its operations port, Node.Await waits for its
//     log.
//   - StartFleet runs several, and Fleet.Transport connects to any of them.
//
// Unless its flags say otherwise a node has --auth=none, which takes requests
// that are addressed to localhost or a loopback address only, and AppID with
// Certificate. Several nodes share what is in the Redis of a --redis-url.
//
// A test fails with the end of the node's log, and keeps all of it where go test
// has -artifacts. A node that ends by itself fails its test.
package nodetest
