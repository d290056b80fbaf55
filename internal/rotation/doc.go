// Package rotation tells how far the rotation of a project's App Certificate is: which
// nodes sign with which certificate, how many sessions hold tokens of each, and whether
// one may be deleted at Agora. It renews nothing: sessions fall due by themselves when
// their node signs with another certificate (package session).
//
// # What nodes tell each other
//
// Every node publishes a status (store.Nodes, topic "certificates"): for each project
// the certificate that it signs with, and until when there are tokens of another one, by
// when some node was last seen to sign with that. A node remembers the latter from the statuses of all nodes, which it
// reads every refreshEvery. So it is known after a rolling restart, too, when all nodes
// that signed with the old certificate have stopped.
//
// # What a report counts
//
// The sessions of the whole cluster, from the store, by the certificate of the tokens
// that their clients have. It is not known for a client that was given tokens of another
// certificate and has not confirmed them. Tokens without a session, of the classic endpoints,
// are not known one by one: they have ended Config.MaxTTL of a node after it was last seen
// to sign with their certificate.
package rotation
