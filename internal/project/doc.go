// Package project holds the Agora projects that this node serves. Each has App Certificates, which
// sign tokens and seal resume keys, and the keys that verify its credentials. Both are read again
// when their files change.
//
// A Set has three parts: the projects with their certificates, the signer of each project (mint.go),
// and the sealer of resume keys. When a file changes, Follow updates all three, then the keys that
// verify credentials, and then calls onChange.
package project
