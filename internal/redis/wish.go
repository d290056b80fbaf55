package redis

import (
	"context"
	"errors"

	"refresher/internal/store"
)

// Wish is not there yet.
func (s *Store) Wish(context.Context, store.Wish) (store.Record, error) {
	return store.Record{}, errors.New("wish: not there yet")
}

// NoWishesYet has the conformance suite leave wishes out.
func (s *Store) NoWishesYet() {}
