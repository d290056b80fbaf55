package redistest

import (
	"os"
	"path/filepath"
	"time"
)

// Refusal is a reason for which a server refuses every write and answers reads.
type Refusal string

// Refusals, each named by the first word of the server's error.
const (
	// OutOfMemory is a server whose memory is full and that evicts nothing.
	OutOfMemory Refusal = "OOM"
	// ReadOnly is a replica; its master is gone.
	ReadOnly Refusal = "READONLY"
	// SaveFailed is a server whose last snapshot could not be written to disk.
	SaveFailed Refusal = "MISCONF"
	// NoReplicas is a master with fewer replicas than min-replicas-to-write.
	NoReplicas Refusal = "NOREPLICAS"
)

// Refusals are all of them.
var Refusals = []Refusal{OutOfMemory, ReadOnly, SaveFailed, NoReplicas}

// RefuseWrites has the server refuse every write until AcceptWrites is called.
func (s *Server) RefuseWrites(why Refusal) {
	s.t.Helper()
	switch why {
	case OutOfMemory:
		s.Do("CONFIG", "SET", "maxmemory", "1")
	case ReadOnly:
		s.Do("REPLICAOF", loopback, "1") // nobody listens there
	case SaveFailed:
		s.failToSave()
	case NoReplicas:
		s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	}
	if _, err := s.Try("SET", "refused", "1"); err == nil {
		s.t.Fatalf("redistest: %s takes writes; want %s", s.Addr(), why)
	}
}

// failToSave has a snapshot fail: a folder stands where the file has to go.
func (s *Server) failToSave() {
	s.t.Helper()
	if err := os.Mkdir(s.snapshot(), 0o700); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	s.Do("CONFIG", "SET", "save", "86400 1000000") // without one, a failure makes no difference
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
