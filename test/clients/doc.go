// Package clients runs the clients that docs/build/clients shows, as their pages have them,
// against the real service. It takes the code out of the page, puts a driver.* of this
// folder beside it, which stands for an app with Agora's SDK, and compiles both:
//
//	go test -tags programs ./test/clients
package clients
