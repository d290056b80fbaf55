// Package client embeds the browser library, for servers that serve it to their own pages. The pages import index.js.
package client

import "embed"

// FS has the library's modules unchanged: there is no build step.
//
//go:embed *.js bindings/*.js
var FS embed.FS
