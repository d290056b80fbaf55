package ws

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// workers handle the messages of all connections, each on a stack of its own
// that outlives the message but not the need: decoding and minting take 8 KiB
// of stack, which every connection's goroutine would keep for as long as it is
// open, while waiting takes less than 4 KiB. That is a third of an idle
// connection's memory.
//
// There is always a worker for a message: one that is idle, whose stack is
// warm, or else a new one. So a handler that is held up, by a client that does
// not read say, holds up no other.
type workers struct {
	tasks chan task     // unbuffered: taken by an idle worker, or not at all
	done  chan struct{} // closed by stop
	stop  func()        // lets idle workers go; may be called again
	idle  atomic.Int32
	most  int32 // idle workers that are kept
}

// task is one message of one connection.
type task struct {
	ctx     context.Context // of a first message: done when the client hangs up
	conn    *conn
	data    []byte
	release func() // gives data back
}

func newWorkers() *workers {
	done := make(chan struct{})
	return &workers{
		tasks: make(chan task), done: done, stop: sync.OnceFunc(func() { close(done) }),
		most: int32(4 * runtime.GOMAXPROCS(0)),
	}
}

// start has a message handled. What came of it goes to conn.handled.
func (w *workers) start(t task) {
	select {
	case w.tasks <- t:
	default:
		t.conn.hub.running.Go(func() { w.work(t) })
	}
}

// work handles t, and then what else comes, unless enough others wait for that.
func (w *workers) work(t task) {
	for {
		err := t.conn.tryHandle(t.ctx, t.data)
		t.release()
		if err == nil {
			t.conn.mayBeSilent()
		}
		t.conn.handled <- err
		if w.idle.Add(1) > w.most {
			w.idle.Add(-1)
			return
		}
		select {
		case t = <-w.tasks:
			w.idle.Add(-1)
		case <-w.done:
			return
		}
	}
}
