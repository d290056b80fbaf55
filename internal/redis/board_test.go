package redis

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// board are the ids of the orders on the board, and its version.
func (s *stage) board(t *testing.T) (ids []string, version string) {
	t.Helper()
	orders, version, err := s.Orders(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range orders {
		ids = append(ids, o.ID)
	}
	slices.Sort(ids)
	return ids, version
}

func (s *stage) gave(t *testing.T, orders ...store.Order) {
	t.Helper()
	if err := s.Give(within(t), orders...); err != nil {
		t.Fatal(err)
	}
}

// TestBoardVersion has the version change when orders may be lost, and not
// otherwise.
func TestBoardVersion(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, other := open(t, server.UnixURL(), nil), open(t, server.UnixURL(), nil)
	give := func() { s.gave(t, order("O"), order("P")) }
	give()
	seen := make(map[string]bool)
	for _, test := range []struct {
		name string
		do   func()
		same bool
	}{
		{"nothing", func() {}, true},
		{"the same again", give, true},
		{"scripts and connections lost", func() {
			server.Do("SCRIPT", "FLUSH")
			server.Do("CLIENT", "KILL", "TYPE", "normal")
			_, _, _ = s.Orders(within(t), "")
		}, true},
		{"FLUSHALL", func() { server.Do("FLUSHALL") }, false},
		{"the same as before that", give, false},
		{"the orders removed by hand", func() { server.Do("DEL", s.keys.board.all) }, false},
		{"and given again", give, false},
		{"one removed by hand", func() { server.Do("HDEL", s.keys.board.all, "O") }, false},
		{"a restart without the data", func() { server.Kill(); server.Restart(); s.again(t) }, false},
	} {
		_, was := s.board(t)
		seen[was] = true
		test.do()
		var now string
		for range poolSize + 1 { // each connection may have to find out for itself
			var err error
			if _, now, err = s.Orders(within(t), ""); err == nil {
				break
			}
		}
		if seen[now] != test.same || now == "" {
			t.Errorf("%s: the version was %q and is %q", test.name, was, now)
		}
		if _, theirs := other.board(t); theirs != now {
			t.Errorf("%s: another node sees the version %q, not %q", test.name, theirs, now)
		}
	}
}

// TestBoardOverRestart keeps the data over a restart, of which the last moments
// may be lost all the same.
func TestBoardOverRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	s := open(t, server.UnixURL(), nil)
	s.gave(t, order("O"))
	_, was := s.board(t)
	server.Kill()
	server.Restart()
	_, _, _ = s.Orders(within(t), "") // has the connection find out
	if ids, now := s.board(t); now == was || !slices.Contains(ids, "O") {
		t.Errorf("orders %q, version %q after %q", ids, now, was)
	}
}

// TestStrangeOrders has those that cannot be read be told of, those of a newer
// release be left alone, and neither stop the others.
func TestStrangeOrders(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	s.gave(t, order("O"))
	strange := map[string]bool{ // told of
		`{"format":2,"kind":["of","tomorrow"],"until":"soon"}`: false,
		`{"format":3,"id":"3","until":4102448400}`:             false,
		``:                              true,
		`[]`:                            true,
		`{"id":`:                        true,
		`{"until":"soon","format":1}`:   true,
		`{"role":"emperor","format":1}`: true,
		`{"format":"1"}`:                true,
		"\x00\xff":                      true,
		`{"format":1,"until":99999999999999999999999}`: true,
	}
	texts := make(map[string]string)
	for text := range strange {
		id := "X" + strconv.Itoa(len(texts))
		texts[id] = text
		server.Do("HSET", s.keys.board.all, id, text)
	}
	if ids, _ := s.board(t); !slices.Equal(ids, []string{"O"}) {
		t.Errorf("orders %q", ids)
	}
	for id, text := range texts {
		if lines := s.log.lines("order=" + id + " "); len(lines) > 0 != strange[text] {
			t.Errorf("%q: logged %q", text, lines)
		}
		// What is no order is replaced by one.
		lifted := order(id)
		lifted.Lifted = true
		s.gave(t, order(id), lifted)
		_ = s.Report(within(t), id, store.Report{Node: "a"})
		if got := server.Do("HGET", s.keys.board.all, id); !strange[text] && got != text {
			t.Errorf("%s, of a newer release, is %s now", text, got)
		}
	}
	server.Do("HSET", s.keys.board.reports+"O", "a", "{", "b", `{"node":"b"}`)
	reports, _, err := s.Reports(within(t), "O")
	if err != nil || len(reports) != 1 || reports[0].Node != "b" || len(s.log.lines("a report on an order")) != 1 {
		t.Errorf("reports %+v, %v", reports, err)
	}
}

// TestOrdersLeaveNothing: what is over is removed, a part of it at a time, and
// reports go by themselves.
func TestOrdersLeaveNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	var orders []store.Order
	for i := range 2 * forgetBatch {
		o := order("O" + strconv.Itoa(i))
		o.Until = session.SecOf(begin) + 100
		orders = append(orders, o)
	}
	s.gave(t, orders...)
	if err := s.Report(within(t), "O7", store.Report{Node: "a"}); err != nil {
		t.Fatal(err)
	}
	ttl, err := strconv.Atoi(server.Do("TTL", s.keys.board.reports+"O7"))
	if err != nil || ttl > 100 || ttl < 40 {
		t.Errorf("reports live for %d s, %v", ttl, err)
	}
	s.pass(100 * time.Second)
	if ids, _ := s.board(t); len(ids) > 0 {
		t.Errorf("%d orders whose time is over", len(ids))
	}
	for i, want := range []int{forgetBatch + 1, 2, 3} {
		s.gave(t, order("new "+strconv.Itoa(i)))
		for _, count := range []string{server.Do("HLEN", s.keys.board.all), server.Do("ZCARD", s.keys.board.until)} {
			if count != strconv.Itoa(want) {
				t.Errorf("after %d more: %s are left, want %d", i+1, count, want)
			}
		}
	}
}

// TestFollowBroken has Follow end with an error when its connection does, or
// gives no answer.
func TestFollowBroken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	s := open(t, "redis://"+proxy.Addr(), nil)
	s.silence = 200 * time.Millisecond
	for _, breaks := range []func(){
		func() { server.Do("CLIENT", "KILL", "TYPE", "pubsub") },
		proxy.Blackhole,
	} {
		changed, done := make(chan struct{}, 8), make(chan error, 1)
		go func() { done <- s.Follow(t.Context(), func() { changed <- struct{}{} }) }()
		await(t, changed)
		s.gave(t, order(strconv.FormatInt(time.Now().UnixNano(), 10)))
		await(t, changed)
		breaks()
		if err := await(t, done); err == nil {
			t.Error("no error")
		}
	}
}
