package demo

import "strings"

// policy is the Content-Security-Policy of a page whose calls run through the stand-in for Agora's
// edge. The page may load files only from its own origin, and connect only to its own origin. In
// connect-src, 'self' includes WebSockets to the page's own host and port, by CSP Level 3, and in
// Chromium, Firefox and Safari 15.4. Video elements get their MediaStreams by srcObject, which no
// directive restricts.
//
// With require-trusted-types-for, an assignment of a plain string to innerHTML or a similar
// property throws. The page makes its elements by createElement and textContent.
var policy = strings.Join(append(shared,
	"script-src 'self'",
	"connect-src 'self'",
	"require-trusted-types-for 'script'",
), "; ")

// realPolicy also allows the page to load Agora's Web SDK from Agora's CDN, and to connect to
// Agora.
//
// Agora's firewall requirements name the domains for the Web SDK
// (https://docs.agora.io/en/introduction/firewall, domains ".agora.io" and so on). A
// wildcard stands for subdomains of any depth, such as x.edge.agora.io. The ports :* are
// needed since the SDK finds its media servers on further ports beside 443, such as 3433 and
// 4700 to 5000. Media uses WebRTC, which no directive restricts.
//
// The SDK starts a worker from a blob, sets style attributes, and has extensions in
// WebAssembly, which 'wasm-unsafe-eval' allows without allowing eval. There is no
// require-trusted-types-for, since the SDK writes to innerHTML and starts its worker with a
// plain string as the URL.
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
