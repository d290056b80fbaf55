// Package client holds the browser library, for servers that hand it to their own
// pages. Its users are pages: they import index.js.
package client

import "embed"

// FS is the library's modules, as they are: there is no build step.
//
//go:embed *.js bindings/*.js
var FS embed.FS
