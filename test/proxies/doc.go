// Package proxies tests the files of deploy/proxies with the programs that they
// are for: nginx, HAProxy and Caddy of Debian, each before two real nodes with a
// real Redis. There is nothing here but tests:
//
//	go test -tags programs ./test/proxies
//
// The files are used as they are shipped. A test changes addresses and paths in
// them, each of which must be there; and in TestIdle the one time-out that it is
// about. Traefik is in no Debian release: its files are only read, strictly, by
// the shape that its documentation gives them.
//
// Calls are held at the judge of web/demo/edge, as in test/chaos. The client's
// address is one of 127.0.0.0/8 that is not the proxy's, which only Linux has
// without being asked to.
package proxies
