package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	rtc "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtctokenbuilder2"
	rtm "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/rtmtokenbuilder2"
	"github.com/centrifugal/centrifuge"
	"github.com/coder/websocket"

	"refresher/internal/access"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/project"
	"refresher/internal/session"
)

// Agora's own example credentials.
const (
	appID       = "970CA35de60c44645bbae8a215061b33"
	certificate = "5CFd2fd1755d40ecb72977518be15d3b"
	lifetime    = time.Hour
)

// settings are those of a node for anybody on this machine.
func settings() app.Config {
	return app.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", IdleTimeout: 650 * time.Second,
		Settings: project.Settings{Projects: []project.Project{{AppID: appID, Certificates: []string{certificate}}}},
		Policy: session.Policy{
			TTL: lifetime, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Heartbeat: 25 * time.Second, Rules: access.Rules{Auth: "none"},
	}
}

// runNode runs a node of refresher.
func runNode(b *testing.B, c app.Config) *app.App {
	b.Helper()
	a, err := app.New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, ctx, nil) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return a
}

// serve serves a handler, and returns its address.
func serve(b *testing.B, h http.Handler) string {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	b.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

// library is coder/websocket as it comes: its Read in the HTTP handler.
func library() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // it may be closed already
		ctx := context.WithoutCancel(r.Context())
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
			if c.Write(ctx, websocket.MessageText, []byte(`{"type":"joined"}`)) != nil {
				return
			}
		}
	})
}

// mint makes an RTC and an RTM token.
type mint func() (rtcToken, rtmToken string, err error)

// ours makes them as refresher does.
func ours(b *testing.B) mint {
	b.Helper()
	m, err := agora.NewMinter(appID, certificate)
	if err != nil {
		b.Fatal(err)
	}
	id := session.Identity{
		RTC: &session.RTC{Channel: "c", UID: 1, Role: session.Publisher},
		RTM: &session.RTM{UserID: "1"},
	}
	return func() (string, string, error) {
		now := session.SecOf(time.Now())
		t, err := m.Mint(id, session.Format007, now, now.Add(lifetime))
		if err != nil {
			return "", "", err
		}
		return t.RTC, t.RTM, nil
	}
}

// agoras makes them by Agora's Go builder, as tutorials do.
func agoras() (rtcToken, rtmToken string, err error) {
	seconds := uint32(lifetime.Seconds())
	if rtcToken, err = rtc.BuildTokenWithUid(appID, certificate, "c", 1, rtc.RolePublisher, seconds, seconds); err == nil {
		rtmToken, err = rtm.BuildToken(appID, certificate, "1", seconds)
	}
	return rtcToken, rtmToken, err
}

// pushed is a bundle as refresher words it.
const pushed = `{"type":"token-privilege-will-expire","seq":%d,"tokens":{"rtc":{"token":%q,"expiresAt":%d},"rtm":{"token":%q,"expiresAt":%[3]d}},` +
	`"previousExpiresAt":%[3]d,"action":"renew","attempt":1,"cause":"renew","now":%[5]d}`

// centrifugeServer pushes a bundle to each client that asks for one.
func centrifugeServer(b *testing.B, mint mint) http.Handler {
	b.Helper()
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		b.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnMessage(func(e centrifuge.MessageEvent) {
			var m struct{ Renew, Ack int }
			if err := json.Unmarshal(e.Data, &m); err != nil || m.Renew == 0 {
				return
			}
			rtcToken, rtmToken, err := mint()
			if err != nil {
				b.Error(err)
				return
			}
			now := time.Now()
			_ = client.Send(fmt.Appendf(nil, pushed, m.Renew, rtcToken, now.Add(lifetime).Unix(), rtmToken, now.UnixMilli()))
		})
	})
	if err := node.Run(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = node.Shutdown(context.WithoutCancel(b.Context())) })
	return centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
		// The clients here answer no pings.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: time.Hour, PongTimeout: time.Minute},
	})
}

// tokenServer answers as the classic token servers do.
func tokenServer(b *testing.B, mint mint) http.Handler {
	b.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"message": "pong"}) })
	mux.HandleFunc("GET /rte/{channel}/{role}/{tokentype}/{uid}/", func(w http.ResponseWriter, _ *http.Request) {
		rtcToken, rtmToken, err := mint()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, map[string]string{"rtcToken": rtcToken, "rtmToken": rtmToken})
	})
	return mux
}
