package files

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	readAgain = "file changed, its new content is in use"
	asBefore  = "file has its previous content again"
	unchanged = "file is unchanged"
)

// follower records the contents that it receives, and refuses those that start with "bad".
type follower struct {
	got     []string
	offered int
}

func (f *follower) apply(contents [][]byte) error {
	f.offered++
	text := string(slices.Concat(contents...))
	if strings.HasPrefix(text, "bad") {
		return fmt.Errorf("this is %s", text)
	}
	f.got = append(f.got, text)
	return nil
}

// follow writes a file and follows it.
func (h *harness) follow(name, content string) *follower {
	h.t.Helper()
	f := new(follower)
	h.write(name, content)
	h.must(h.Follow(f.apply, h.path(name)))
	return f
}

// wantGot checks all contents that f has received so far.
func (h *harness) wantGot(f *follower, want ...string) {
	h.t.Helper()
	h.mu.Lock() // the Watcher holds mu while it calls apply, so the test may read f only with mu
	defer h.mu.Unlock()
	if !slices.Equal(f.got, want) {
		h.t.Errorf("got %q, want %q", f.got, want)
	}
}

func TestFollowRefusals(t *testing.T) {
	run(t, func(h *harness) {
		h.write("good", "one")
		h.write("empty", "")
		h.write("bad", "bad")
		h.write("largest", strings.Repeat("x", maxSize))
		h.write("larger", strings.Repeat("x", maxSize+1))
		for path, want := range map[string]string{
			h.path("good"):    "<nil>",
			h.path("largest"): "<nil>",
			h.path("larger"):  "want at most 1048576 bytes",
			h.path("empty"):   "is empty",
			h.path("missing"): "no such file",
			h.path("bad"):     "this is bad",
			h.dir:             "want a regular file",
			os.DevNull:        "want a regular file",
		} {
			if err := h.Follow(new(follower).apply, path); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v, want %q", path, err, want)
			}
		}
		h.pass() // files that were refused at first are not followed
		h.want(0)
	})
}

func TestFollow(t *testing.T) {
	run(t, func(h *harness) {
		f := h.follow("a", "one")
		h.write("a", "two")
		time.Sleep(interval - time.Nanosecond) // bubble
		synctest.Wait()
		h.wantGot(f, "one")
		time.Sleep(time.Nanosecond) // bubble
		synctest.Wait()
		h.wantGot(f, "one", "two")
		h.want(0, readAgain)

		h.write("b", "three")
		h.must(os.Rename(h.path("b"), h.path("a")))
		h.pass()
		h.write("a", "three")
		h.pass()
		h.wantGot(f, "one", "two", "three")
		h.want(0, readAgain)
	})
}

// TestKubernetes replaces a file as Kubernetes does in a mounted Secret: the file is a link through ..data,
// and the link ..data is replaced by a rename.
func TestKubernetes(t *testing.T) {
	run(t, func(h *harness) {
		for _, version := range []string{"..1", "..2"} {
			h.must(os.Mkdir(h.path(version), 0o700))
			h.write(version+"/key", "of "+version)
		}
		h.must(os.Symlink("..1", h.path("..data")))
		h.must(os.Symlink("..data/key", h.path("key")))
		var f follower
		h.must(h.Follow(f.apply, h.path("key")))
		h.must(os.Symlink("..2", h.path("..data_tmp")))
		h.must(os.Rename(h.path("..data_tmp"), h.path("..data")))
		h.pass()
		h.wantGot(&f, "of ..1", "of ..2")
	})
}

// While a file cannot be used, its last good content stays in use, and each reason is logged once. Refused content is
// offered again at each check, since the callback may have refused the content for a reason that no longer exists.
func TestBrokenFile(t *testing.T) {
	const removed = "removed"
	run(t, func(h *harness) {
		f, other := h.follow("a", "one"), h.follow("b", "other")
		for _, c := range []struct {
			content string
			broken  float64
			log     string
		}{
			{removed, 1, "file cannot be used"},
			{"one", 0, asBefore},
			{"", 1, "is empty"},
			{"bad", 1, "this is bad"},
			{"bad too", 1, "this is bad too"},
			{removed, 1, "no such file"},
			{"bad too", 1, "this is bad too"},
			{"one", 0, asBefore},
			{"", 1, "is empty"},
			{"two", 0, readAgain},
		} {
			if c.content == removed {
				h.must(os.Remove(h.path("a")))
			} else {
				h.write("a", c.content)
			}
			h.pass()
			h.want(c.broken, c.log)
			h.pass()
			h.want(c.broken)
		}
		h.wantGot(f, "one", "two")
		h.mu.Lock()
		if f.offered != 2+6 {
			t.Errorf("offered %d times", f.offered)
		}
		h.mu.Unlock()
		h.must(os.Remove(h.path("a")))
		h.write("b", "still followed")
		h.pass()
		h.wantGot(other, "other", "still followed")
	})
}

func TestReload(t *testing.T) {
	run(t, func(h *harness) {
		f := h.follow("a", "one")
		refusal := error(nil)
		h.write("b", "any")
		h.must(h.Follow(func([][]byte) error { return refusal }, h.path("b")))
		start := time.Now()
		reload := func() {
			h.Reload()
			h.Reload()
			synctest.Wait()
		}
		h.write("a", "two")
		h.write("b", "more")
		refusal = errors.New("not yet")
		reload()
		h.wantGot(f, "one", "two")
		h.log.Reset()
		reload()
		if n := strings.Count(h.log.String(), "not yet"); n == 0 {
			t.Error("after Reload, a known failure is not logged again")
		}
		refusal = nil
		h.log.Reset()
		h.Reload()
		synctest.Wait()
		h.want(0, unchanged, readAgain)
		if time.Since(start) != 0 {
			t.Error("waited for the next check")
		}
	})
}

// The contents of a group's files are applied together.
func TestTogether(t *testing.T) {
	run(t, func(h *harness) {
		var got [][]byte
		h.write("a", "12")
		h.write("b", "3")
		h.must(h.Follow(func(contents [][]byte) error {
			got = contents
			return nil
		}, h.path("a"), h.path("b")))
		h.write("a", "1")
		h.write("b", "23")
		h.pass()
		if len(got) != 2 || string(got[0]) != "1" || string(got[1]) != "23" {
			t.Errorf("got %q", got)
		}
	})
}

// The paths of a group may change, and a group may have no paths.
func TestFollowPaths(t *testing.T) {
	run(t, func(h *harness) {
		var f follower
		var paths atomic.Pointer[[]string]
		use := func(names ...string) { paths.Store(&names) }
		use()
		h.write("a", "one")
		h.must(h.FollowPaths(f.apply, func() []string { return *paths.Load() }))
		h.Reload()
		h.pass()
		h.want(0)
		use(h.path("a"))
		h.pass()
		h.want(0, readAgain)
		use(h.path("b"))
		h.pass()
		h.want(1, "no such file")
		h.write("b", "two")
		h.pass()
		h.want(0, readAgain)
		h.must(os.Remove(h.path("b")))
		use()
		h.pass()
		h.want(0)
		h.wantGot(&f, "one", "two")
	})
}
