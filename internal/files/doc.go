// Package files follows files whose content is a setting, and hands on what
// they hold when it changes: certificates that are renewed, secrets that are
// rotated. It knows files, and the one kind that TLS needs. It does not know
// what others hold, nor which signal asks for a reload.
//
// # What is guaranteed
//
//   - Files are looked at by content, every few seconds. So it does not matter
//     how they change: written in place, renamed over, or behind the symbolic
//     link that Kubernetes swaps, and on file systems that tell of no changes.
//   - Files that belong together, such as a certificate and its key, are handed
//     on together. While they do not go together, in the middle of a change,
//     whoever uses them says so by an error and is asked again at the next look.
//   - What was last in order stays in use while a file is gone, empty, cannot
//     be read, or is refused. That is logged when it begins, when it becomes
//     another failure and when it is over; the gauge refresher_files_broken
//     counts such files.
//   - At the start nothing is forgiven: Follow returns the error.
//
// A file that is written in place may be read half written. What uses it has to
// tell half of it from the whole, or its writer has to rename.
//
// # Secrets
//
// What a file holds is not kept here: changes are seen by its SHA-256 sum. It
// reaches no log and no error.
//
// # Locks
//
// Watcher.mu is held while files are read and handed on. Callbacks come one
// after the other, and must not call their Watcher.
package files
