// Package apptest starts whole nodes for tests, and talks to them as clients, apps and
// operators do. A test that needs a node, not a part of one, begins here:
//
//	Node, Socket        a node on real ports of this machine, and a bare WebSocket
//	LoggedNode          one whose log can be read, most often in a bubble of
//	                    testing/synctest with a network of its own
//	World, Network      a service, calls at the judge of web/demo/edge, and the cables
//	                    between them, which can be cut
//	Cluster, Line       nodes that share a store, an operator, and connections to them
//	Holder, Tenant      a client that holds its tokens against its grant; a project
//	BackEnd             a customer's back end that is asked for approval
//	Request, Way        ways to ask for tokens, and what came of it: Outcome, Opens
//
// The race detector itself crashes in bubbles that simulate whole nodes for long
// (golang/go#78156). Files with such tests have the build constraint !race. Tests of nodes
// on real ports, and those of each package's parts, run under the detector.
package apptest
