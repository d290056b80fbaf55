// Package deploy tests the files in deploy/ without a container engine and a cluster. Helm's
// own library renders the chart, and the result is decoded strictly into Kubernetes' types, and
// compared with golden files in testdata, which go generate writes.
// Compose's library loads the compose file. BuildKit's library parses the Dockerfile, whose
// build step the tests run by themselves. The binary runs in an otherwise empty file system.
//
// It is a module of its own, so that the service does not depend on these libraries.
package deploy
