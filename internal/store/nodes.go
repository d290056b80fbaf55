package store

import (
	"context"
	"maps"
	"strings"
	"time"
)

// NodeKept is for how long a store keeps the name of a node, and what the node says of
// itself, once its lease is over.
const NodeKept = time.Hour

// Nodes is what the live nodes tell each other of themselves, by topic. Its methods are
// safe for concurrent use.
type Nodes interface {
	// SetStatus replaces what node says under a topic. It is kept for as long as the
	// node's lease holds, and for NodeKept after that; a store that loses its data
	// loses it too, so repeat it.
	SetStatus(ctx context.Context, node, topic, status string) error
	// Statuses returns what each node whose lease holds says under a topic, by the
	// node's name: "" for one that has said nothing.
	Statuses(ctx context.Context, topic string) (map[string]string, error)
}

// memoryNode is what Memory knows of a node.
type memoryNode struct {
	until    time.Time         // end of its lease
	statuses map[string]string // by topic
}

// renew has a node's lease end at until, and forgets the nodes whose lease ended long
// ago. m.mu is held.
func (m *Memory) renew(node string, until time.Time) {
	n := m.nodes[node]
	n.until = until
	m.nodes[node] = n
	kept := m.now().Add(-NodeKept)
	maps.DeleteFunc(m.nodes, func(_ string, n memoryNode) bool { return !n.until.After(kept) })
}

// SetStatus replaces what node says under a topic. See Nodes.
func (m *Memory) SetStatus(_ context.Context, node, topic, status string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[node]
	if n.until.IsZero() {
		n.until = m.now() // it is kept for NodeKept, lease or not
	}
	if n.statuses == nil {
		n.statuses = make(map[string]string)
	}
	n.statuses[topic] = status
	m.nodes[node] = n
	return nil
}

// Statuses returns what each node whose lease holds says under a topic. See Nodes.
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

// NodeID is the part of a node's name that no other node has: what stands behind its
// last "-". Stores may keep no more of an owner's name in a record.
func NodeID(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }
