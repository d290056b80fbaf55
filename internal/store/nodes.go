package store

import (
	"context"
	"maps"
	"strings"
	"time"
)

// NodeKept is how long a store keeps the name and the statuses of a node after its lease
// has ended.
const NodeKept = time.Hour

// Nodes stores the statuses that nodes publish for each other, one for each node and topic.
// Its methods are safe for concurrent use.
type Nodes interface {
	// SetStatus replaces node's status of the given topic. The store keeps the status until
	// the node's lease ends, and for NodeKept after that. Nodes must repeat their statuses,
	// since a store can lose its data.
	SetStatus(ctx context.Context, node, topic, status string) error
	// Statuses returns the statuses of the given topic by node name, for all nodes whose
	// lease has not ended. The status is "" for a node that has set none.
	Statuses(ctx context.Context, topic string) (map[string]string, error)
}

// memoryNode is a node's lease and statuses in Memory.
type memoryNode struct {
	until    time.Time         // end of the node's lease
	statuses map[string]string // by topic
}

// renew sets the end of a node's lease to the time `until`, and removes the nodes whose
// lease ended NodeKept ago. The caller holds m.mu.
func (m *Memory) renew(node string, until time.Time) {
	n := m.nodes[node]
	n.until = until
	m.nodes[node] = n
	kept := m.now().Add(-NodeKept)
	maps.DeleteFunc(m.nodes, func(_ string, n memoryNode) bool { return !n.until.After(kept) })
}

// SetStatus replaces node's status of the given topic. See Nodes.
func (m *Memory) SetStatus(_ context.Context, node, topic, status string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[node]
	if n.until.IsZero() {
		n.until = m.now() // a node that has no lease is kept for NodeKept, too
	}
	if n.statuses == nil {
		n.statuses = make(map[string]string)
	}
	n.statuses[topic] = status
	m.nodes[node] = n
	return nil
}

// Statuses returns the status of the given topic of each node whose lease has not ended. See
// Nodes.
func (m *Memory) Statuses(_ context.Context, topic string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	statuses := make(map[string]string)
	for node, n := range m.nodes {
		if n.until.After(m.now()) {
			statuses[node] = n.statuses[topic]
		}
	}
	return statuses, nil
}

// NodeID returns the unique part of a node's name, which follows the last "-". A store may
// keep only this part of an owner's name in a record.
func NodeID(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }
