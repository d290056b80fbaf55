package api

import "refresher/internal/session"

// ping answers GET /ping, which shows that the process answers requests.
func ping(*request) (any, error) {
	return struct {
		Message string `json:"message"`
	}{"pong"}, nil
}

// errNotReady does not say why the node is not ready, since GET / needs no credential. The path /readyz of the
// operations port shows the reason.
var errNotReady = session.Errorf(session.CodeUnavailable, "this node accepts no calls now; connect to another node")

// ready answers whether the node accepts sessions. The load balancers of GKE, AWS and others use GET / as health
// check by default.
func (a *API) ready(*request) (any, error) {
	if !a.config.Ready() {
		return nil, errNotReady
	}
	return struct {
		Status string `json:"status"`
	}{"ready"}, nil
}
