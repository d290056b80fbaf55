package client_test

import (
	"testing"

	"refresher/test/nodetest"
)

func TestMain(m *testing.M) { nodetest.Main(m) }
