package store_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(_ testing.TB, now func() time.Time) storetest.Store { return store.NewMemory(now) }

func TestMemoryConforms(t *testing.T) { storetest.Conformance(t, openMemory) }

// TestModel checks the model itself: Memory is its own oracle.
func TestModel(t *testing.T) { storetest.Model(t, openMemory) }
