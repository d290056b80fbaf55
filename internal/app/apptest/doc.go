// Package apptest starts whole nodes for tests, and calls them like clients, apps and operators.
// Tests that need a node, and not only a part of one, use:
//
//	Node, Socket        a node on real ports of this machine, and a bare WebSocket
//	LoggedNode          one whose log can be read, most often in a bubble of
//	                    testing/synctest with a network of its own
//	World, Network      a service, calls at the stand-in of web/demo/edge, and a network
//	                    between them whose connections can be cut
//	Cluster, Line       nodes that share a store, an operator, and connections to them
//	Holder, Tenant      a client that checks its tokens against its grant; a project
//	BackEnd             a back end that answers approval requests
//	Request, Way        ways to request tokens, and their results: Outcome, Opens
//
// The race detector itself crashes in bubbles that simulate whole nodes for long
// (golang/go#78156). Files with such tests have the build constraint !race. Tests of nodes
// on real ports, and those of each package's parts, run under the detector.
package apptest
