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
	// interval is how often files are looked at.
	interval = 5 * time.Second
	// maxSize is the largest file that is read; bytes.
	maxSize = 1 << 20
)

// Watcher follows files. It is safe for concurrent use.
type Watcher struct {
	logger     *slog.Logger
	registerer prometheus.Registerer
	broken     prometheus.Gauge
	wake       chan struct{} // asks Run to look now

	mu       sync.Mutex
	followed []*group // guarded by mu
}

// New makes a Watcher, which looks at its files once Run is called.
func New(logger *slog.Logger, r prometheus.Registerer) *Watcher {
	w := &Watcher{logger: logger, registerer: r, wake: make(chan struct{}, 1)}
	w.broken = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_files_broken",
		Help: "Followed files, or pairs of them, that are gone, unreadable or refused, so that what they held before is still in use.",
	})
	r.MustRegister(w.broken)
	return w
}

// Follow reads files and calls apply with their contents, in the order of
// paths; and again, from Run, whenever one of them has changed. What apply
// refuses by an error counts as not there: apply must go on with what it had, and
// is called again at the next look. The first time that error, or one of reading,
// is Follow's, and the files are not followed. apply keeps contents if it likes,
// must not call the Watcher, and names no secret in its error.
func (w *Watcher) Follow(apply func(contents [][]byte) error, paths ...string) error {
	return w.FollowPaths(apply, func() []string { return paths })
}

// FollowPaths is Follow of files whose paths may change: they are asked for at each
// look. While there are none, apply is not called. paths must not call the Watcher.
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

// Reload has Run look at all files now, and log what came of it. It returns at
// once.
func (w *Watcher) Reload() {
	select {
	case w.wake <- struct{}{}:
	default: // Run is about to look
	}
}

// Run looks at the files until ctx is done.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			asked = true
		case <-ticker.C:
		}
		w.look(asked)
	}
}

// look sees to all files. asked says that somebody waits for an answer in the
// log.
func (w *Watcher) look(asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken := 0
	for _, g := range w.followed {
		changed, err := g.look()
		w.log(g, asked, changed, err)
		g.failure = ""
		if err != nil {
			g.failure = err.Error()
			broken++
		}
	}
	w.broken.Set(float64(broken))
}

// log logs a change or a new failure of a group. g.failure is still the failure of the last look.
func (w *Watcher) log(g *group, asked, changed bool, err error) {
	logger := w.logger.With("files", strings.Join(g.named, ", "))
	switch {
	case len(g.named) == 0: // nothing to look at
	case err != nil && (asked || err.Error() != g.failure):
		logger.Error("file can't be used; what it held before stays in use", "error", err)
	case err != nil: // known
	case changed:
		logger.Info("file has changed and was read again")
	case g.failure != "":
		logger.Info("file is as before again")
	case asked:
		logger.Info("file is unchanged")
	}
}

// group is files that belong together.
type group struct {
	paths func() []string
	apply func([][]byte) error

	named   []string // the paths at the last look
	used    sum      // of what apply took last
	failure string   // what was wrong at the last look, or empty
}

// sum stands for the contents of a group. The zero one stands for none.
type sum [sha256.Size]byte

// look reads the files and hands them on if they are new.
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

// read reads a regular file and refuses one that is empty or too large.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // reading a pipe would wait for a writer
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
	case len(content) == 0: // as when it is just being written
		return nil, fmt.Errorf("%s: is empty", path)
	case len(content) > maxSize:
		return nil, fmt.Errorf("%s: want %d bytes at most", path, maxSize)
	}
	return content, nil
}

// sumOf includes the lengths, so that nothing can move from one file to the
// next unseen.
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
