// Package rotation tells how far the rotation of a project's App Certificate is: which
// nodes sign with which certificate, how many sessions hold tokens of each, and whether
// one may be deleted at Agora. It renews nothing: sessions fall due by themselves when
// their node signs with another certificate (package session).
//
// Every node publishes a status (store.Nodes, topic "certificates"): for each project the
// certificate that it signs with, and for any other certificate until when there are
// tokens of it, which follows from when a node was last seen to sign with it. A node
// learns the latter from the statuses of all nodes, which it reads every refreshEvery, and
// remembers it. So after a rolling restart, too, the nodes know when all nodes that signed
// with the old certificate have stopped.
//
// A report counts the sessions of the whole cluster, which it reads from the store, by
// the certificate of the tokens that their clients have. That certificate is unknown for a
// client that was given tokens of another certificate and has not confirmed them. Tokens
// of the classic endpoints have no session and are not counted: those of a node have ended
// its Config.MaxTTL after it was last seen to sign with their certificate.
package rotation
