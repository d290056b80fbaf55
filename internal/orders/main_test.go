package orders

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("no answer")

// board is a board that can lose what it has.
type board struct {
	mu        sync.Mutex
	orders    map[string]store.Order
	reports   map[string]map[string]store.Report
	alive     []string
	version   int
	followers map[*func()]struct{}
	deaf      bool // no notice arrives
	leaky     bool // nothing stays on it
	room      int  // for orders; zero is without end
	readings  int
	full      int // of these, in full
}

func newBoard() *board {
	return &board{
		orders: make(map[string]store.Order), reports: make(map[string]map[string]store.Report),
		followers: make(map[*func()]struct{}),
	}
}

// changed is called with mu held.
func (b *board) changed() {
	b.version++
	if b.deaf {
		return
	}
	for f := range b.followers {
		(*f)()
	}
}

// lose empties the board.
func (b *board) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.orders)
	clear(b.reports)
	b.changed()
}

// got is what the board has of an order.
func (b *board) got(id string) (store.Order, map[string]store.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orders[id], maps.Clone(b.reports[id])
}

// link is the board as one node reaches it, or does not.
type link struct {
	*board
	mu   sync.Mutex
	away bool
	hang bool          // no answer until the caller gives up
	mute bool          // reports are refused
	lag  time.Duration // of readings
	puts int
	said int // reports
}

func (l *link) set(away, hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away, l.hang = away, hang
}

// reach locks the board, which the caller unlocks if there is no error.
func (l *link) reach(ctx context.Context) error {
	l.mu.Lock()
	away, hang := l.away, l.hang
	l.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if away || ctx.Err() != nil {
		return errAway
	}
	l.board.mu.Lock()
	return nil
}

func (l *link) Give(ctx context.Context, orders ...store.Order) (full error) {
	l.mu.Lock()
	l.puts += len(orders)
	l.mu.Unlock()
	if err := l.reach(ctx); err != nil {
		return err
	}
	defer l.board.mu.Unlock()
	for _, o := range orders {
		old, ok := l.orders[o.ID]
		if !ok && l.room > 0 && len(l.orders) >= l.room {
			full = store.ErrBoardFull
			continue
		}
		if !ok || o.Lifted && !old.Lifted {
			if !l.leaky {
				l.orders[o.ID] = o
			}
			l.changed()
		}
	}
	return full
}

func (l *link) Orders(ctx context.Context, known string) ([]store.Order, string, error) {
	l.mu.Lock()
	lag := l.lag
	l.mu.Unlock()
	time.Sleep(lag) // bubble
	if err := l.reach(ctx); err != nil {
		return nil, "", err
	}
	defer l.board.mu.Unlock()
	l.readings++
	version := strconv.Itoa(l.version)
	if version == known {
		return nil, version, nil
	}
	l.full++
	return slices.Collect(maps.Values(l.orders)), version, nil
}

func (l *link) Report(ctx context.Context, order string, r store.Report) error {
	l.mu.Lock()
	l.said++
	mute := l.mute
	l.mu.Unlock()
	if mute {
		return errAway
	}
	if err := l.reach(ctx); err != nil {
		return err
	}
	defer l.board.mu.Unlock()
	if _, ok := l.orders[order]; !ok {
		return nil
	}
	if l.reports[order] == nil {
		l.reports[order] = make(map[string]store.Report)
	}
	l.reports[order][r.Node] = r
	return nil
}

func (l *link) Reports(ctx context.Context, order string) ([]store.Report, []string, error) {
	if err := l.reach(ctx); err != nil {
		return nil, nil, err
	}
	defer l.board.mu.Unlock()
	return slices.Collect(maps.Values(l.reports[order])), slices.Clone(l.alive), nil
}

func (l *link) Follow(ctx context.Context, changed func()) error {
	if err := l.reach(ctx); err != nil {
		return err
	}
	l.followers[&changed] = struct{}{}
	l.board.mu.Unlock()
	changed()
	<-ctx.Done()
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	delete(l.followers, &changed)
	return nil
}

// node is a Book, and sessions that are not there.
type node struct {
	*Book
	t        *testing.T
	name     string
	link     *link
	registry *prometheus.Registry
	log      *logBuffer
	stop     func() // and wait

	mu      sync.Mutex
	applied []store.Order
	// answer is what the sessions do; nil has one session, and is done.
	answer func(store.Order) store.Report
}

// newNode makes a node that is not running yet, and that serves one project, or so many.
// Its wall clock is the bubble's.
func newNode(t *testing.T, b *board, name string, projects ...int) *node {
	t.Helper()
	n := &node{t: t, name: name, link: &link{board: b}, registry: prometheus.NewRegistry(), log: &logBuffer{}}
	var err error
	n.Book, err = New(Config{
		Board: n.link, Node: name, Sessions: n.apply, Projects: append(projects, 1)[0],
		Certificate: func(string) string { return "the same" },
		Logger:      slog.New(slog.NewTextHandler(n.log, nil)), Registerer: n.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run has the node run until stop, or until the test ends.
func (n *node) run() *node {
	n.link.board.mu.Lock()
	n.link.alive = append(n.link.alive, n.name)
	n.link.board.mu.Unlock()
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Run(ctx); err != nil {
			n.t.Error(err)
		}
	}()
	n.stop = func() {
		cancel()
		<-done
		n.link.board.mu.Lock()
		defer n.link.board.mu.Unlock()
		n.link.alive = slices.DeleteFunc(n.link.alive, func(name string) bool { return name == n.name })
	}
	n.t.Cleanup(n.stop)
	return n
}

func start(t *testing.T, b *board, name string) *node {
	t.Helper()
	n := newNode(t, b, name).run()
	synctest.Wait()
	return n
}

func (n *node) apply(o store.Order) store.Report {
	n.mu.Lock()
	n.applied = append(n.applied, o)
	answer := n.answer
	n.mu.Unlock()
	if answer == nil {
		return store.Report{Sessions: 1, Done: 1}
	}
	return answer(o)
}

// carried is how often an order was carried out.
func (n *node) carried(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for i := range n.applied {
		if n.applied[i].ID == id {
			count++
		}
	}
	return count
}

// give gives an order that must be taken.
func (n *node) give(o store.Order) Result {
	n.t.Helper()
	r, err := n.Give(n.t.Context(), o)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// revokes reports whether the node refuses a user.
func (n *node) revokes(uid uint32) bool {
	_, revoked := n.Revoked("app", "S", "", rtc("daily", uid))
	return revoked
}

func (n *node) wantRevokes(uid uint32, want bool) {
	n.t.Helper()
	if got := n.revokes(uid); got != want {
		n.t.Errorf("%s revokes %d: %v, want %v", n.name, uid, got, want)
	}
}

func rtc(channel string, uid uint32) session.Identity {
	return session.Identity{RTC: &session.RTC{Channel: channel, UID: uid}}
}

// revocation is of one user, for an hour.
func revocation(uid int) store.Order {
	return store.Order{App: "app", Kind: store.OrderRevoke, User: strconv.Itoa(uid), Until: session.SecOf(time.Now().Add(time.Hour))}
}

// logBuffer is a log that can be read meanwhile.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
