// Package project knows the Agora projects that this node serves: their App
// Certificates, which sign tokens and seal resume keys, and the keys of their
// credentials, both of which are read again when their files change.
//
// A Set has three parts: the projects with their certificates, the signer of each
// project (mint.go), and the sealer of resume keys. Follow brings changes of files to all
// of them, then to what checks credentials, then to its onChange.
package project
