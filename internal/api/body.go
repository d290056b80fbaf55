package api

import (
	"io"
	"net/http"
	"time"
)

const (
	// bodyTimeout is how long a body may take once a handler reads it. Handlers read
	// after they have accepted the request's credential or key.
	bodyTimeout = 30 * time.Second
	// unreadTimeout is how long net/http waits for a body that no handler reads,
	// such as that of a request without a credential, before it sends the answer.
	// A client that sends its body in time keeps its connection; one that does not
	// is answered and disconnected.
	unreadTimeout = time.Second
)

// body is the body of a request. Its first Read extends the connection's read
// deadline from unreadTimeout to bodyTimeout.
type body struct {
	io.ReadCloser

	connection *http.ResponseController
	read       bool
}

// limitBody sets the read deadline for a request's body, and reads none of it.
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
