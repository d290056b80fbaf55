package api

import "refresher/internal/session"

// ping answers GET /ping: the process answers requests.
func ping(*request) (any, error) {
	return struct {
		Message string `json:"message"`
	}{"pong"}, nil
}

// errNotReady gives no reason, since anybody may ask: /readyz on the operations port
// does.
var errNotReady = session.Errorf(session.CodeUnavailable, "this node takes no calls now; connect to another one")

// ready answers GET /: the node takes calls. It is what GKE, ALB and others ask when
// nobody tells them otherwise.
func (a *API) ready(*request) (any, error) {
	if !a.config.Ready() {
		return nil, errNotReady
	}
	return struct {
		Status string `json:"status"`
	}{"ready"}, nil
}
