package client_test

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"refresher/client"
)

// This recorder stays in its channel until it is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	credential := func(context.Context) (string, error) { return os.Getenv("CREDENTIAL"), nil }
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := record(ctx, "wss://calls.example.com/v1/ws", credential, new(sdk), log); err != nil {
		log.Error("the recording is over", "err", err)
	}
}

// record keeps a recorder in a channel until ctx is done or its access ends.
func record(ctx context.Context, url string, credential func(context.Context) (string, error), sdk SDK, log *slog.Logger) error {
	c := client.New(client.Config{
		URL:        url,
		Credential: credential,
		RTC:        &client.RTC{Channel: "daily", UID: 900001},
		Apply: func(ctx context.Context, t client.Tokens) error {
			switch t.Action {
			case client.Renew:
				return sdk.RenewToken(ctx, t.RTC)
			default: // join with the first tokens, or again after the old ones have expired and the SDK has left
				return sdk.Join(ctx, "daily", 900001, t.RTC)
			}
		},
		Notify: func(e client.Event) {
			log.Info("call", "event", e.Kind, "session", e.Session, "err", e.Err, "after", e.After)
		},
	})
	sdk.OnTokenWillExpire(c.Renew)
	defer sdk.Leave()
	stop := context.AfterFunc(ctx, c.Leave)
	defer stop()
	return c.Run(context.WithoutCancel(ctx)) // returns nil after Leave, *client.EndedError, or *client.DeniedError
}

// SDK has the methods of Agora's server SDK that a recorder needs.
type SDK interface {
	Join(ctx context.Context, channel string, uid uint32, token string) error
	RenewToken(ctx context.Context, token string) error
	OnTokenWillExpire(warned func())
	Leave()
}
