package store

import "context"

// Nodes is what the live nodes tell each other of themselves, by topic. Its methods are
// safe for concurrent use.
type Nodes interface {
	// SetStatus replaces what node says under a topic. It is kept for as long as the
	// node's lease holds, at least.
	SetStatus(ctx context.Context, node, topic, status string) error
	// Statuses returns what each node whose lease holds says under a topic, by the
	// node's name: "" for one that has said nothing.
	Statuses(ctx context.Context, topic string) (map[string]string, error)
}
