package files

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	readAgain = "file has changed and was read again"
	notUsed   = "file can't be used"
	asBefore  = "file is as before again"
	unchanged = "file is unchanged"
)

// follower records the contents that it receives, and refuses those that start with "bad".
type follower struct {
	mu      sync.Mutex
	got     []string // guarded by mu
	offered int      // guarded by mu
}

func (f *follower) apply(contents [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offered++
	text := string(slices.Concat(contents...))
	if strings.HasPrefix(text, "bad") {
		return fmt.Errorf("this is %s", text)
	}
	f.got = append(f.got, text)
	return nil
}

// wantGot checks all contents that f has received so far.
func (s *setup) wantGot(f *follower, want ...string) {
	s.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.got, want) {
		s.t.Errorf("got %q, want %q", f.got, want)
	}
}

func (s *setup) wantOffered(f *follower, want int) {
	s.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.offered != want {
		s.t.Errorf("offered %d times, want %d", f.offered, want)
	}
}

func (s *setup) wantBroken(want float64) {
	s.t.Helper()
	if got := s.gauge("refresher_files_broken"); got != want {
		s.t.Errorf("%v files broken, want %v", got, want)
	}
}

func TestFollowRefusals(t *testing.T) {
	bubble(t, func(s *setup) {
		s.write("good", "one")
		s.write("empty", "")
		s.write("bad", "bad")
		s.write("largest", strings.Repeat("x", maxSize))
		s.write("larger", strings.Repeat("x", maxSize+1))
		for name, want := range map[string]string{
			"good":    "",
			"largest": "",
			"larger":  "want 1048576 bytes at most",
			"empty":   "is empty",
			"missing": "no such file",
			"bad":     "this is bad",
			".":       "want a regular file",
		} {
			err := s.Follow(new(follower).apply, s.path("good"), s.path(name))
			if name == "bad" {
				err = s.Follow(new(follower).apply, s.path("bad"))
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if err := s.Follow(new(follower).apply, os.DevNull); err == nil || !strings.Contains(err.Error(), "want a regular file") {
			t.Errorf("a device: %v", err)
		}
		// Files that were refused at first are not followed.
		s.pass()
		s.wantLog()
		s.wantBroken(0)
	})
}

func TestFollow(t *testing.T) {
	bubble(t, func(s *setup) {
		var f follower
		s.write("a", "one")
		if err := s.Follow(f.apply, s.path("a")); err != nil {
			t.Fatal(err)
		}
		s.wantGot(&f, "one")
		s.pass()
		s.wantGot(&f, "one")

		s.write("a", "two")
		time.Sleep(interval - time.Nanosecond) // bubble
		synctest.Wait()
		s.wantGot(&f, "one")
		time.Sleep(time.Nanosecond) // bubble
		synctest.Wait()
		s.wantGot(&f, "one", "two")
		s.wantLog(readAgain)

		s.write("b", "three")
		s.rename("b", "a")
		s.pass()
		s.wantGot(&f, "one", "two", "three")

		s.write("a", "three") // the same
		s.pass()
		s.wantGot(&f, "one", "two", "three")
		s.wantLog(readAgain)
		s.wantBroken(0)
	})
}

// TestKubernetes replaces a file as Kubernetes does in a mounted Secret: the file is a link through ..data,
// and the link ..data is replaced by a rename.
func TestKubernetes(t *testing.T) {
	bubble(t, func(s *setup) {
		var f follower
		for _, version := range []string{"..1", "..2"} {
			if err := os.Mkdir(s.path(version), 0o700); err != nil {
				t.Fatal(err)
			}
			s.write(version+"/key", "of "+version)
		}
		s.link("..1", "..data")
		s.link("..data/key", "key")
		if err := s.Follow(f.apply, s.path("key")); err != nil {
			t.Fatal(err)
		}
		s.link("..2", "..data_tmp")
		s.rename("..data_tmp", "..data")
		if err := os.RemoveAll(s.path("..1")); err != nil {
			t.Fatal(err)
		}
		s.pass()
		s.wantGot(&f, "of ..1", "of ..2")
		s.wantLog(readAgain)
	})
}

// While a file is missing, its last good content stays in use, and the log has one line.
func TestGone(t *testing.T) {
	bubble(t, func(s *setup) {
		var f, other follower
		s.write("a", "one")
		s.write("b", "other")
		for name, f := range map[string]*follower{"a": &f, "b": &other} {
			if err := s.Follow(f.apply, s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		s.remove("a")
		for range 3 {
			s.pass()
			s.wantBroken(1)
		}
		s.wantLog(notUsed)
		s.write("b", "still followed")
		s.pass()
		s.wantGot(&other, "other", "still followed")
		s.wantLog(readAgain)

		s.write("a", "one")
		s.pass()
		s.wantGot(&f, "one")
		s.wantLog(asBefore)
		s.wantBroken(0)

		s.write("a", "")
		s.pass()
		s.wantLog("is empty")
		s.write("a", "two")
		s.pass()
		s.wantGot(&f, "one", "two")
		s.wantLog(readAgain)
		s.wantBroken(0)
	})
}

// Refused content is offered again at each check, since the reason for the refusal may be gone, but it is
// logged once.
func TestRefused(t *testing.T) {
	bubble(t, func(s *setup) {
		var f follower
		s.write("a", "one")
		if err := s.Follow(f.apply, s.path("a")); err != nil {
			t.Fatal(err)
		}
		s.write("a", "bad")
		for range 3 {
			s.pass()
			s.wantBroken(1)
		}
		s.wantLog("this is bad")
		s.wantOffered(&f, 4)

		s.write("a", "bad too")
		s.pass()
		s.pass()
		s.wantLog("this is bad too")
		s.remove("a")
		s.pass()
		s.wantLog("no such file")
		s.write("a", "bad too")
		s.pass()
		s.wantLog("this is bad too")
		s.wantOffered(&f, 7)

		s.write("a", "one")
		s.pass()
		s.wantLog(asBefore)
		s.wantGot(&f, "one")
		s.wantBroken(0)
	})
}

func TestReload(t *testing.T) {
	bubble(t, func(s *setup) {
		var f follower
		refuse := errors.New("not yet")
		s.write("a", "one")
		s.write("b", "any")
		if err := s.Follow(f.apply, s.path("a")); err != nil {
			t.Fatal(err)
		}
		if err := s.Follow(func(contents [][]byte) error {
			if string(contents[0]) == "any" {
				return nil
			}
			return refuse
		}, s.path("b")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		reload := func() {
			s.Reload()
			s.Reload()
			synctest.Wait()
		}
		reload()
		s.log.take()
		s.write("a", "two")
		s.write("b", "more")
		s.Reload()
		synctest.Wait()
		s.wantGot(&f, "one", "two")
		s.wantLog(readAgain, notUsed)

		s.Reload() // after Reload it is logged again
		synctest.Wait()
		s.wantLog(unchanged, notUsed)

		refuse = nil
		s.Reload()
		synctest.Wait()
		s.wantLog(unchanged, readAgain)
		if time.Since(start) != 0 {
			t.Error("waited for the next look")
		}
	})
}

// Groups of files change independently; the contents of one group's files are handed to its callback together.
func TestTogether(t *testing.T) {
	bubble(t, func(s *setup) {
		var got [][]byte
		s.write("a", "12")
		s.write("b", "3")
		if err := s.Follow(func(contents [][]byte) error {
			got = contents
			return nil
		}, s.path("a"), s.path("b")); err != nil {
			t.Fatal(err)
		}
		s.write("a", "1")
		s.write("b", "23")
		s.pass()
		if len(got) != 2 || string(got[0]) != "1" || string(got[1]) != "23" {
			t.Errorf("got %q", got)
		}
		s.wantLog(readAgain)
	})
}

// The paths may change, and there may be none.
func TestFollowPaths(t *testing.T) {
	bubble(t, func(s *setup) {
		var f follower
		var paths atomic.Pointer[[]string]
		name := func(names ...string) { paths.Store(&names) }
		name()
		if err := s.FollowPaths(f.apply, func() []string { return *paths.Load() }); err != nil {
			t.Fatal(err)
		}
		s.pass()
		s.Reload()
		synctest.Wait()
		s.wantOffered(&f, 0)
		s.write("a", "one")
		name(s.path("a"))
		s.pass()
		s.wantGot(&f, "one")
		s.wantLog(readAgain)
		name(s.path("b"))
		s.pass()
		s.wantLog("no such file")
		s.wantBroken(1)
		s.write("b", "two")
		s.pass()
		s.wantGot(&f, "one", "two")
		s.wantLog(readAgain)
		name()
		s.pass()
		s.wantBroken(0)
	})
}
