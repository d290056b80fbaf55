package api

import (
	"io"
	"net/http"
	"time"
)

// How long the body of a request may take to arrive. Nothing reads it before the
// request was let in, so what comes with a bad credential has a moment to arrive,
// which spares an honest client a broken connection, and holds its connection no
// longer.
const (
	bodyTimeout   = 30 * time.Second
	unreadTimeout = time.Second
)

// body is the body of a request. Who reads it gives it bodyTimeout from then on.
type body struct {
	io.ReadCloser

	connection *http.ResponseController
	read       bool
}

// limitBody bounds how long a request's body may take. It reads none of it.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &body{ReadCloser: r.Body, connection: http.NewResponseController(w)}
	b.allow(unreadTimeout)
	r.Body = b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.read {
		b.read = true
		b.allow(bodyTimeout)
	}
	return b.ReadCloser.Read(p)
}

func (b *body) allow(d time.Duration) {
	_ = b.connection.SetReadDeadline(time.Now().Add(d)) // fails where the connection is gone, as the read will
}
