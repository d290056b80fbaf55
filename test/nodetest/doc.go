// Package nodetest runs the service for tests as it is deployed: each node is a
// `refresher serve` process.
//
//   - Main is for a package's TestMain. It builds the program when the first node starts,
//     without the race detector, and removes it at the end.
//   - New prepares a node with flags. Start, Stop, Kill, Pause and Resume simulate
//     deployments, crashes and machines that hang.
//   - Node.Metric and Node.Get send requests to the operations port, Node.Await waits for a
//     line in the log.
//   - StartFleet starts several nodes, and Fleet.Transport connects to any of them.
//
// Unless its flags say otherwise, a node serves the project of AppID and Certificate with
// --auth=none, which accepts only requests to localhost or a loopback address. Nodes with the
// same --redis-url share their sessions.
//
// A failed test shows the end of the node's log, and keeps the whole log if go test has
// -artifacts. A node that ends by itself fails its test.
package nodetest
