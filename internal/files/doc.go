// Package files follows files whose content is a setting, and hands on what they hold when
// it changes: certificates that are renewed, secrets that are rotated.
//
//   - Files are looked at by content, every few seconds. So it does not matter how they
//     change: written in place, renamed over, or behind the symbolic link that Kubernetes
//     swaps, also on file systems without notices of changes.
//   - Files that belong together, such as a certificate and its key, are handed on together.
//     If they do not fit, in the middle of a change, the callback returns an error and is
//     called again at the next look.
//   - What a file held last stays in use while the file is gone, empty, unreadable or refused.
//     That is logged once, and the gauge refresher_files_broken counts such files. At the
//     start, Follow returns the error instead.
//
// A file that is written in place may be read half written: its callback has to notice, or
// its writer has to rename. What a file holds is not kept, but for its SHA-256 sum, and
// reaches no log and no error.
//
// Watcher.mu is held while files are read and handed on. Callbacks come one after the other,
// and must not call their Watcher.
package files
