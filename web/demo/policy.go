package demo

import "strings"

// policy is the Content-Security-Policy: the page loads and connects to its own origin
// only. In connect-src, 'self' covers WebSockets to the page's own host and
// port too, by CSP Level 3, and in Chromium, Firefox and Safari 15.4. Video elements play MediaStreams by srcObject, which no directive
// restricts.
//
// With require-trusted-types-for, innerHTML and its like throw on a plain string:
// the page makes its elements by createElement and textContent.
var policy = strings.Join(append(shared,
	"script-src 'self'",
	"connect-src 'self'",
	"require-trusted-types-for 'script'",
), "; ")

// realPolicy also lets the page load Agora's Web SDK from Agora's CDN, and connect to
// Agora.
//
// The domains are those that Agora's firewall requirements name for the Web SDK
// (https://docs.agora.io/en/introduction/firewall, domains ".agora.io" and so on):
// a wildcard stands for subdomains of any depth, such as x.edge.agora.io, and :* for
// the ports beside 443 (3433, 4700 to 5000, …) on which the SDK finds its media
// servers. It starts a worker from a blob of its own; its extensions bring
// WebAssembly, which 'wasm-unsafe-eval' lets compile without allowing eval. It sets
// style attributes. Media goes by WebRTC, which no directive restricts. There is no
// require-trusted-types-for: the SDK writes to innerHTML and starts its worker by a
// plain address.
var realPolicy = strings.Join(append(shared,
	"script-src 'self' https://download.agora.io 'wasm-unsafe-eval'",
	"worker-src 'self' blob:",
	"style-src-attr 'unsafe-inline'",
	"connect-src 'self' "+agoraHosts("agora.io", "sd-rtn.com", "rtnsvc.com", "rtesvc.com"),
), "; ")

// shared has the directives of both policies.
var shared = []string{
	"default-src 'none'",
	"style-src 'self'",
	"img-src 'self' data:",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
}

func agoraHosts(domains ...string) string {
	var sources []string
	for _, domain := range domains {
		sources = append(sources, "https://*."+domain+":*", "wss://*."+domain+":*")
	}
	return strings.Join(sources, " ")
}
