// Package clients tests the clients that the pages of docs/build/clients show, against the real
// service. It copies a client's code from its page, adds the driver.* of this folder, which plays
// an app with Agora's SDK, and compiles both:
//
//	go test -tags programs ./test/clients
package clients
