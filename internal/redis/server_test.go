package redis

import (
	"slices"
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

func TestWarnsOfEviction(t *testing.T) {
	t.Parallel()
	for policy, warnings := range map[string]int{"noeviction": 0, "allkeys-random": 1} {
		server := redistest.Start(t, "maxmemory-policy "+policy)
		s := open(t, server.UnixURL(), nil)
		for round := 1; round <= 2; round++ {
			s.swept(t, "a")
			s.swept(t, "a")
			if lines := s.log.lines("maxmemory_policy=" + policy); len(lines) != round*warnings {
				t.Errorf("%s: warned %d times: %s", policy, len(lines), lines)
			}
			server.Do("FLUSHALL")
		}
	}
}

func TestWarnsIfItMayNotPublish(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off")
	for without, want := range map[string][]string{
		"+publish ":               {"refresher:node:", "refresher:revocations"},
		"&refresher:node:* ":      {"refresher:node:"},
		"&refresher:revocations ": {"refresher:revocations"},
		"+subscribe ":             nil,
	} {
		s := open(t, limited(server.UnixURL(), strings.Replace(acl+" ", without, "", 1), server), nil)
		server.Do("FLUSHALL")
		s.swept(t, "a")
		s.swept(t, "a")
		lines := s.log.lines("may not publish")
		if len(lines) != len(want) {
			t.Errorf("without %s: %s", without, lines)
		}
		for _, channel := range want {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "channel="+channel+" ") }) {
				t.Errorf("without %s: no warning of %s", without, channel)
			}
		}
	}
}

func TestWithoutINFO(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off", "maxmemory-policy allkeys-lru")
	s := open(t, limited(server.URL(), strings.Replace(acl+" ", "+info ", "", 1), server), nil)
	s.allWork(t)
	before := s.generations(t)[0]
	server.Do("FLUSHALL")
	if after := s.generations(t)[0]; strings.TrimSpace(before) == "" || after == before {
		t.Errorf("the generation was %q and is %q", before, after)
	}
	if got := s.log.lines("WARN"); len(got) != 0 {
		t.Error(got)
	}
}

func TestGenerationChangesWhenDataMayBeLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	s, other := open(t, server.UnixURL(), nil), open(t, server.UnixURL(), nil)
	for _, step := range []struct {
		name string
		do   func()
		lost []int // the shards that may have lost data, so their generation must change
	}{
		{"all operations", func() { s.allWork(t) }, nil},
		{"a node leaves", func() { s.doing(t, "onlooker", store.Leave) }, nil},
		{"connections lost", func() { server.Do("CLIENT", "KILL", "TYPE", "normal") }, nil},
		{"FLUSHALL", func() { server.Do("FLUSHALL") }, allShards()},
		{"one removed by hand", func() { server.Do("DEL", s.keys.generation[5]) }, []int{5}},
		{"a restart with the data", func() { server.Kill(); server.Restart() }, allShards()},
	} {
		was := s.generations(t)
		step.do()
		is := s.generations(t)
		var lost []int
		for shard := range is {
			if is[shard] != was[shard] {
				lost = append(lost, shard)
			}
		}
		if !slices.Equal(lost, step.lost) || is[0] == "" {
			t.Errorf("%s: the generations of the shards %v have changed, such as %q to %q", step.name, lost, was[0], is[0])
		}
		if other.generations(t) != is {
			t.Errorf("%s: another node sees other generations", step.name)
		}
	}
	if server.Do("DBSIZE") == "0" {
		t.Error("the restart lost the data: it was to test the run_id")
	}
}

func allShards() (all []int) {
	for shard := range store.Shards {
		all = append(all, shard)
	}
	return all
}

func TestRefusedCommandIsAnError(t *testing.T) {
	t.Parallel()
	server, all := startStore(t)
	all.saved(t, store.Done, overdue("S"))
	all.put(t, revocation("R"))
	for without, do := range map[string]func(s *harness) error{
		"+zscore ": func(s *harness) error {
			_, err := s.sweep(within(t), "b")
			return err
		},
		"+hscan ": func(s *harness) error {
			_, _, _, err := s.Revocations(within(t), store.RevocationsVersion{})
			return err
		},
	} {
		s := open(t, limited(server.UnixURL(), strings.Replace(acl+" ", without, "", 1), server), nil)
		if err := do(s); err == nil {
			t.Errorf("without %s: %v", without, err)
		}
	}
}
