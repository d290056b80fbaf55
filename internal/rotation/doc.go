// Package rotation reports the progress of a rotation of a project's App Certificate: which nodes
// sign with which certificate, how many sessions have tokens of each certificate, and whether a
// certificate may be deleted at Agora. The package does not renew sessions: package session makes
// them due when their node's certificate changes.
//
// Every node publishes a status (store.Nodes, topic "certificates"). For each project it has
// the certificate that the node signs with. For each other certificate it has the time at
// which the last token signed with it expires. The node computes this time from the statuses
// of all nodes, which it reads at the interval refreshEvery, and keeps it in its own status.
// So the nodes know it even after a rolling restart, when all nodes that signed with the old
// certificate have stopped.
//
// A report counts the sessions of the whole cluster, which it reads from the store, by the
// certificate of their clients' tokens. If the node has pushed tokens of another certificate, and
// the client has not confirmed them yet, the session counts as "unknown". Tokens from the
// endpoints of the classic token servers have no session and cannot be counted. All of these
// tokens have expired when Config.MaxTTL has passed since a node was last seen to sign with
// their certificate.
package rotation
