package redistest

import (
	"strconv"
	"strings"
	"time"
)

// CPU returns the processor time that the server's main thread, which executes all commands,
// has used since it started.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	info := s.info("cpu")
	var total time.Duration
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, ok := info[field+"_main_thread"]
		if !ok { // Not every system reports a thread's time; otherwise the time of the whole process is used.
			seconds = info[field]
		}
		spent, err := time.ParseDuration(seconds + "s")
		if err != nil {
			s.t.Fatalf("redistest: INFO cpu: %s: %v", field, err)
		}
		total += spent
	}
	return total
}

// UsedMemory returns the number of bytes that the server has allocated.
func (s *Server) UsedMemory() int64 {
	s.t.Helper()
	return s.number("memory", "used_memory")
}

// Traffic returns how many bytes the server has received and sent over the network since it
// started, including this package's own requests.
func (s *Server) Traffic() (received, sent int64) {
	s.t.Helper()
	return s.number("stats", "total_net_input_bytes"), s.number("stats", "total_net_output_bytes")
}

// Commands returns the number of commands that the server has executed since it started, including those within scripts
// and transactions. It counts the commands of Do and Try, but not this package's own requests. Replicas and sentinels
// also send commands to their servers, so the number grows by itself if there are any.
func (s *Server) Commands() int64 {
	s.t.Helper()
	own := s.own.Load() + 1 // the login before the INFO command is one of this package's own commands, too
	return s.number("stats", "total_commands_processed") - own
}

func (s *Server) number(section, field string) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(s.info(section)[field], 10, 64)
	if err != nil {
		s.t.Fatalf("redistest: INFO %s: %s: %v", section, field, err)
	}
	return n
}

func (s *Server) info(section string) map[string]string {
	s.t.Helper()
	fields := make(map[string]string)
	for line := range strings.Lines(s.Do("INFO", section)) {
		if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[field] = value
		}
	}
	s.own.Add(1)
	return fields
}
