package ws

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// workers is a goroutine pool for message handlers. Decoding and minting take 8 KiB of
// stack. With a pool, each connection's own goroutine keeps a 4 KiB stack, which is a third
// less memory for an idle connection.
//
// A message never waits for a worker: if none is idle, a new one starts. So a handler that
// is held up, for example by a client that does not read, holds up no other connection.
type workers struct {
	tasks   chan task     // unbuffered: only an idle worker receives
	done    chan struct{} // closed by stop
	stop    func()        // ends idle workers; may be called again
	idle    atomic.Int32
	maxIdle int32
}

// task is one message of one connection.
type task struct {
	ctx     context.Context // ends when the client hangs up, for its first message
	conn    *conn
	data    []byte
	release func() // gives data back
}

func newWorkers() *workers {
	done := make(chan struct{})
	return &workers{
		tasks: make(chan task), done: done, stop: sync.OnceFunc(func() { close(done) }),
		maxIdle: int32(4 * runtime.GOMAXPROCS(0)),
	}
}

// start has a worker handle a message. The result goes to conn.handled.
func (w *workers) start(t task) {
	select {
	case w.tasks <- t:
	default:
		t.conn.hub.running.Go(func() { w.work(t) })
	}
}

// work handles t, and then other tasks, unless enough workers are idle.
func (w *workers) work(t task) {
	for {
		err := t.conn.tryHandle(t.ctx, t.data)
		t.release()
		if err == nil {
			t.conn.awaitMessage()
		}
		t.conn.handled <- err
		if w.idle.Add(1) > w.maxIdle {
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
