//go:build programs

package clients

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/redistest"
)

// network stands for the network between the clients and a node. A test can break it.
type network struct {
	*redistest.Proxy
	node      atomic.Pointer[nodetest.Node]
	noUpgrade atomic.Bool   // if true, WebSocket handshakes are answered with 403, as some proxies do
	connects  chan struct{} // has an element if a connection was opened since the test last read from this channel
}

func newNetwork(t *testing.T, node *nodetest.Node) *network {
	t.Helper()
	n := &network{connects: make(chan struct{}, 1)}
	n.node.Store(node)
	forward := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: n.node.Load().Addr()})
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.noUpgrade.Load() && r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			select {
			case n.connects <- struct{}{}:
			default:
			}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	n.Proxy = redistest.StartProxy(t, server.Listener.Addr().String())
	return n
}

func (n *network) url() string { return "http://" + n.Addr() }
