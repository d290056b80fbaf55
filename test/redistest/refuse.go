package redistest

import (
	"os"
	"path/filepath"
	"time"
)

// Refusal is a reason for which a server refuses every write but answers reads.
type Refusal string

// These are the reasons. Each value is the first word of the server's error.
const (
	// OutOfMemory means that the server's memory is full, and the server evicts nothing.
	OutOfMemory Refusal = "OOM"
	// ReadOnly means that the server is a replica whose master is gone.
	ReadOnly Refusal = "READONLY"
	// SaveFailed means that the server could not write its last snapshot to disk.
	SaveFailed Refusal = "MISCONF"
	// NoReplicas means that the server is a master with fewer replicas than min-replicas-to-write.
	NoReplicas Refusal = "NOREPLICAS"
)

// Refusals lists all reasons.
var Refusals = []Refusal{OutOfMemory, ReadOnly, SaveFailed, NoReplicas}

// RefuseWrites makes the server refuse every write until AcceptWrites is called.
func (s *Server) RefuseWrites(why Refusal) {
	s.t.Helper()
	switch why {
	case OutOfMemory:
		s.Do("CONFIG", "SET", "maxmemory", "1")
	case ReadOnly:
		s.Do("REPLICAOF", loopback, "1") // a port on which no server listens
	case SaveFailed:
		s.failToSave()
	case NoReplicas:
		s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	}
	if _, err := s.Try("SET", "refused", "1"); err == nil {
		s.t.Fatalf("redistest: %s takes writes; want %s", s.Addr(), why)
	}
}

func (s *Server) failToSave() {
	s.t.Helper()
	if err := os.Mkdir(s.snapshot(), 0o700); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	s.Do("CONFIG", "SET", "save", "86400 1000000") // Redis refuses writes after a failed snapshot only if there is a schedule of snapshots
	began := time.Now()
	s.Do("BGSAVE")
	s.await(began, "Background saving error")
}

// AcceptWrites undoes RefuseWrites.
func (s *Server) AcceptWrites(why Refusal) {
	s.t.Helper()
	switch why {
	case OutOfMemory:
		s.Do("CONFIG", "SET", "maxmemory", "0")
	case ReadOnly:
		s.Do("REPLICAOF", "NO", "ONE")
	case SaveFailed:
		s.Do("CONFIG", "SET", "save", "")
		if err := os.Remove(s.snapshot()); err != nil {
			s.t.Fatalf("redistest: %v", err)
		}
	case NoReplicas:
		s.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	}
	s.Do("SET", "refused", "0")
	s.Do("DEL", "refused")
}

func (s *Server) snapshot() string { return filepath.Join(s.dir, "dump.rdb") }
