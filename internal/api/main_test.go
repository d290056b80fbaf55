package api_test

import (
	"testing"

	"refresher/internal/app/apptest"
)

func TestMain(m *testing.M) { apptest.Main(m) }
