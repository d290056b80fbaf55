package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/orders"
	"refresher/internal/session"
	"refresher/internal/store"
)

// orderBook is what the scheduler, the gate and the API see of the orders.
type orderBook struct {
	book *orders.Book
}

func newOrderBook(board store.Board, node string, projects int, logger *slog.Logger, r prometheus.Registerer) (*orderBook, error) {
	book, err := orders.New(orders.Config{
		Board: board, Node: node, Projects: projects, Logger: logger.With("component", "orders"), Registerer: r,
	})
	return &orderBook{book}, err
}

// Loaded implements scheduler.Orders.
func (b *orderBook) Loaded() bool { return b.book.Loaded() }

// Revoked implements scheduler.Orders.
func (b *orderBook) Revoked(k *session.Key) bool {
	_, revoked := b.book.Revoked(k.App, k.Session, k.Subject, k.Identity)
	return revoked
}

// Give implements api.Orders.
func (b *orderBook) Give(ctx context.Context, o store.Order) (store.Order, store.Tally, error) {
	r, err := b.book.Give(ctx, o)
	return r.Order, r.Tally, err
}

// Lift implements api.Orders.
func (b *orderBook) Lift(ctx context.Context, app, id string) error {
	if err := b.book.Lift(ctx, app, id); !errors.Is(err, orders.ErrUnknown) {
		return err
	}
	return nil // its time was just over
}

// Find implements api.Orders.
func (b *orderBook) Find(ctx context.Context, app, id string) (store.Order, store.Tally, bool, error) {
	if !b.Loaded() {
		return store.Order{}, store.Tally{}, false, session.ErrUninformed
	}
	r, err := b.book.Get(ctx, app, id)
	return r.Order, r.Tally, err == nil && !r.Order.Lifted, nil
}

// Standing implements api.Orders.
func (b *orderBook) Standing(app string, kind store.OrderKind, after string, limit int) ([]store.Order, string, error) {
	if !b.Loaded() {
		return nil, "", session.ErrUninformed
	}
	standing, next := b.book.List(app, kind, after, limit)
	return standing, next, nil
}
