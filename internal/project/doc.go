// Package project holds the Agora projects that this node serves. Each has App Certificates, which
// sign tokens and seal resume keys, and keys that verify credentials. The
// files of certificates and keys are read again when they change.
//
// A Set has three parts: the projects with their certificates, the signer of each project (mint.go),
// and the sealer of resume keys. When a file changes, Follow updates all three, then the keys that
// verify credentials, which are not in the Set, and then calls the caller's onChange.
package project
