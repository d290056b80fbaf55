// Package deploy checks what is in deploy/ as far as that can be without a
// container engine and a cluster: the chart is rendered by Helm's own library and
// decoded strictly into Kubernetes' types, the compose file is loaded by Compose's,
// the Dockerfile is read by BuildKit's and its build step run by hand, and the
// binary runs in an empty root. There is nothing here but tests.
//
// It is a module of its own: none of those libraries is in the product.
package deploy
