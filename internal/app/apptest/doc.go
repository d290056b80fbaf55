// Package apptest starts whole nodes for tests, and makes requests to them as clients, apps and operators do.
// Tests that need a whole node use these types:
//
//	Node, Socket        a node on real ports of this machine, and a bare WebSocket
//	LoggedNode          a node whose log can be read, usually in a bubble of
//	                    testing/synctest with its own network
//	World, Network      a service, calls at the fake of Agora's edge (web/demo/edge), and a
//	                    network between them whose connections can be cut
//	Cluster, Line       nodes with one store, and a client's connection to them
//	Holder, Tenant      a client that remembers its messages; a project
//	BackEnd             a back end that answers approval requests
//	Request, Way        ways to request tokens; Outcome and Opens are their results
//
// The race detector itself crashes in bubbles that simulate whole nodes for long
// (golang/go#78156). Files with such tests have the build constraint !race. Other tests of
// nodes, and the tests of each package's parts, run under the race detector.
package apptest
