package api

import "refresher/internal/session"

// ping answers GET /ping, which shows that the process answers requests.
func ping(*request) (any, error) {
	return struct {
		Message string `json:"message"`
	}{"pong"}, nil
}

// errNotReady gives no reason, since GET / needs no credential; /readyz on the operations port
// gives it.
var errNotReady = session.Errorf(session.CodeUnavailable, "this node takes no calls now; connect to another one")

// ready answers GET /, the default health check of GKE, ALB and others: whether the node accepts
// sessions.
func (a *API) ready(*request) (any, error) {
	if !a.config.Ready() {
		return nil, errNotReady
	}
	return struct {
		Status string `json:"status"`
	}{"ready"}, nil
}
