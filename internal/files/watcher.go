package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// interval is the time between two checks of the files.
	interval = 5 * time.Second
	// maxSize is the size in bytes of the largest file that is read.
	maxSize = 1 << 20
)

// Watcher reads files again when they change. It is safe for concurrent use.
type Watcher struct {
	logger     *slog.Logger
	registerer prometheus.Registerer
	broken     prometheus.Gauge
	wake       chan struct{} // wakes Run to check the files at once

	mu       sync.Mutex
	followed []*group // guarded by mu
}

// New returns a Watcher, which checks its files for changes while Run runs.
func New(logger *slog.Logger, r prometheus.Registerer) *Watcher {
	w := &Watcher{logger: logger, registerer: r, wake: make(chan struct{}, 1)}
	w.broken = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_files_broken",
		Help: "Watched files (a certificate and its key count as one) that are missing, unreadable or refused; their previous content stays in use.",
	})
	r.MustRegister(w.broken)
	return w
}

// Follow reads the files and calls the function `apply` with their contents, in the order of paths. Run calls `apply`
// again whenever one of the files has changed. If `apply` returns an error, it must have changed nothing; `apply` is
// called again at the next check. If the first read or the first call fails, Follow returns that error and does not
// follow the files. The function `apply` may keep contents, must not call the Watcher, and must not put a secret into
// its error.
func (w *Watcher) Follow(apply func(contents [][]byte) error, paths ...string) error {
	return w.FollowPaths(apply, func() []string { return paths })
}

// FollowPaths is like Follow, for files whose paths may change: the function `paths` is called at each check. While
// `paths` returns no path, `apply` is not called. The function `paths` must not call the Watcher.
func (w *Watcher) FollowPaths(apply func(contents [][]byte) error, paths func() []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := &group{paths: paths, apply: apply}
	if _, err := g.look(); err != nil {
		return err
	}
	w.followed = append(w.followed, g)
	return nil
}

// Reload makes Run check all files now and log the result for each. It returns at once.
func (w *Watcher) Reload() {
	select {
	case w.wake <- struct{}{}:
	default: // Run is already about to check the files
	}
}

// Run checks the files for changes until ctx is done.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		reload := false
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			reload = true
		case <-ticker.C:
		}
		w.look(reload)
	}
}

// look checks all files. The parameter `reload` says whether Reload was called; if it was, look logs the result for
// each file, even if the file is unchanged.
func (w *Watcher) look(reload bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken := 0
	for _, g := range w.followed {
		changed, err := g.look()
		w.log(g, reload, changed, err)
		g.failure = ""
		if err != nil {
			g.failure = err.Error()
			broken++
		}
	}
	w.broken.Set(float64(broken))
}

// log logs that a group's contents have changed, or that a group has begun to fail or to work again. When log is called,
// g.failure is still the failure of the previous check.
func (w *Watcher) log(g *group, reload, changed bool, err error) {
	logger := w.logger.With("files", strings.Join(g.named, ", "))
	switch {
	case len(g.named) == 0: // the group has no files at present
	case err != nil && (reload || err.Error() != g.failure):
		logger.Error("file cannot be used; its previous content stays in use", "error", err)
	case err != nil: // this failure is in the log already
	case changed:
		logger.Info("file changed, its new content is in use")
	case g.failure != "":
		logger.Info("file has its previous content again")
	case reload:
		logger.Info("file is unchanged")
	}
}

// group is a set of files whose contents are handed to the function `apply` together.
type group struct {
	paths func() []string
	apply func([][]byte) error

	named   []string // the paths at the last check
	used    sum      // sum of the contents that the function `apply` last accepted
	failure string   // the error of the last check, or empty
}

// sum is a hash of a group's contents. The zero sum means that no contents were accepted yet.
type sum [sha256.Size]byte

// look reads the files and calls the function `apply` if their contents have changed.
func (g *group) look() (changed bool, err error) {
	g.named = g.paths()
	if len(g.named) == 0 {
		return false, nil
	}
	contents := make([][]byte, len(g.named))
	for i, path := range g.named {
		if contents[i], err = read(path); err != nil {
			return false, err
		}
	}
	now := sumOf(contents)
	if now == g.used {
		return false, nil
	}
	if err := g.apply(contents); err != nil {
		return false, err
	}
	g.used = now
	return true, nil
}

// read reads a regular file. It refuses a file that is empty or too large.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would block until a process writes to it
		return nil, fmt.Errorf("%s: want a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) == 0: // another process is probably writing the file at this moment
		return nil, fmt.Errorf("%s: is empty", path)
	case len(content) > maxSize:
		return nil, fmt.Errorf("%s: want at most %d bytes", path, maxSize)
	}
	return content, nil
}

// sumOf returns the sum of contents. The sum includes the length of each file. Without the lengths, the sum would stay
// the same if bytes moved from the end of one file to the beginning of the next.
func sumOf(contents [][]byte) (s sum) {
	h := sha256.New()
	for _, content := range contents {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(content)))
		h.Write(size[:])
		h.Write(content)
	}
	h.Sum(s[:0])
	return s
}
