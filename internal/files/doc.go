// Package files reads files again when they change, such as certificates that are renewed and
// secrets that are rotated, and hands their contents to callbacks.
//
//   - A Watcher compares the contents of files every few seconds. It therefore notices each kind of
//     change: writing in place, renaming, or replacing a symbolic link as Kubernetes does. It needs
//     no change notifications from the file system.
//   - Files that belong together, such as a certificate and its key, are handed on together. If they
//     do not match because only one of them was replaced so far, the callback returns an error, and
//     is called again at the next check.
//   - While a file is missing, empty, unreadable or refused, its previous content stays in use. The
//     failure is logged once, and the gauge refresher_files_broken counts such files. At the start, Follow
//     returns the error instead of logging it.
//
// A file that is written in place may be read while only a part of it is written. Either the callback must detect
// partial content, or the file must be replaced by renaming. The Watcher keeps only the SHA-256 sum of the contents, and
// puts no content into logs or errors.
//
// Watcher.mu is held while files are read and callbacks run. Callbacks therefore run one at a time,
// and must not call their Watcher.
package files
