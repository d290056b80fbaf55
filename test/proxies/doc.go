// Package proxies tests the files of deploy/proxies with Debian's nginx, HAProxy and Caddy,
// each in front of two real nodes with a real Redis. Run the tests with:
//
//	go test -tags programs ./test/proxies
//
// The tests use the files as they are shipped. They replace only the addresses and paths in
// them, and fail if one of these is missing; TestIdle also replaces a time-out, which it
// tests. Debian has no Traefik, so its files are only parsed: the names in them must refer to
// existing parts.
//
// Calls join web/demo/edge, a stand-in for Agora's servers, as in test/chaos. The client's address is one
// of 127.0.0.0/8 other than the proxy's. Only Linux has these addresses without configuration.
package proxies
