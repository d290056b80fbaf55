// Package project holds the Agora projects that this node serves. Each project has App Certificates,
// which sign tokens and encrypt resume keys, and keys that verify credentials. The files of certificates
// and keys are read again when they change.
//
// A Set has three parts: the projects with their certificates, the signer of each project (mint.go), and the sealer,
// which encrypts resume keys. When a file changes, the Set updates these parts, and passes new keys that verify
// credentials to package access. If another certificate now signs tokens, the Set calls a function of package app.
package project
