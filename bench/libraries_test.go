//go:build linux

package bench

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// runHandler returns a child process that serves an HTTP handler.
func runHandler(handler func(*application) (http.Handler, error)) func(choice) error {
	return func(c choice) error {
		h, err := handler(newApplication(c))
		if err != nil {
			return err
		}
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		announce(listener.Addr().String())
		return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(listener)
	}
}

var subprotocols = []string{"refresher.v1"}

// coderServer is coder/websocket with its defaults: the goroutine of the HTTP handler reads the messages.
func coderServer(a *application) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: subprotocols})
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // it may be closed already
		ctx := context.WithoutCancel(r.Context())
		for {
			_, message, err := c.Read(ctx)
			if err != nil {
				return
			}
			if a.refuse {
				_ = c.Write(ctx, coder.MessageText, []byte(reconnect))
				_ = c.Close(coder.StatusTryAgainLater, "")
				return
			}
			if reply := a.answer(message); reply != nil && c.Write(ctx, coder.MessageText, reply) != nil {
				return
			}
		}
	}), nil
}

// gorillaServer is gorilla/websocket with its defaults.
func gorillaServer(a *application) (http.Handler, error) {
	upgrader := gorilla.Upgrader{Subprotocols: subprotocols}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for refused := false; ; {
			_, message, err := c.ReadMessage()
			switch {
			case err != nil:
				return
			case refused:
			case a.refuse:
				refused = true // from now on the loop reads until the client closes the connection
				_ = c.WriteMessage(gorilla.TextMessage, []byte(reconnect))
				closing := gorilla.FormatCloseMessage(gorilla.CloseTryAgainLater, "")
				_ = c.WriteControl(gorilla.CloseMessage, closing, time.Now().Add(time.Second))
			default:
				if reply := a.answer(message); reply != nil && c.WriteMessage(gorilla.TextMessage, reply) != nil {
					return
				}
			}
		}
	}), nil
}

// gwsServer is lxzan/gws with its defaults.
func gwsServer(a *application) (http.Handler, error) {
	upgrader := gws.NewUpgrader(&gwsHandler{application: a}, &gws.ServerOption{SubProtocols: subprotocols})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	}), nil
}

type gwsHandler struct {
	gws.BuiltinEventHandler
	*application
}

func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if h.refuse {
		_ = c.WriteMessage(gws.OpcodeText, []byte(reconnect))
		_ = c.WriteClose(uint16(gorilla.CloseTryAgainLater), nil)
		return
	}
	if reply := h.answer(m.Bytes()); reply != nil {
		_ = c.WriteMessage(gws.OpcodeText, reply)
	}
}

// centrifugeServer is centrifuge, the library of Centrifugo.
func centrifugeServer(tuning centrifuge.WebsocketConfig) func(*application) (http.Handler, error) {
	return func(a *application) (http.Handler, error) {
		node, err := centrifuge.New(centrifuge.Config{})
		if err != nil {
			return nil, err
		}
		node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
			if a.refuse {
				return centrifuge.ConnectReply{}, centrifuge.Disconnect{Code: uint32(gorilla.CloseTryAgainLater)}
			}
			reply := a.answer([]byte(`{"type":"join"}`))
			return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}, Data: reply}, nil
		})
		node.OnConnect(func(client *centrifuge.Client) {
			client.OnMessage(func(e centrifuge.MessageEvent) {
				if reply := a.answer(e.Data); reply != nil {
					_ = client.Send(reply)
				}
			})
		})
		if err := node.Run(); err != nil {
			return nil, err
		}
		tuning.CheckOrigin = func(*http.Request) bool { return true }
		// The clients of this benchmark do not answer pings, so the server must not send any during a measurement.
		tuning.PingPongConfig = centrifuge.PingPongConfig{PingInterval: time.Hour, PongTimeout: time.Minute}
		return centrifuge.NewWebsocketHandler(node, tuning), nil
	}
}

// tuned has the options of centrifuge for many connections that are mostly idle: a short-lived goroutine for each
// frame, which keeps the stack of the reader small; a small read buffer instead of the 4 KiB of net/http; and a pool of
// write buffers.
var tuned = centrifuge.WebsocketConfig{ProcessCommandsOffReadLoop: true, ReadBufferSize: 512, UseWriteBufferPool: true}
