//go:build programs

package proxies

import (
	"testing"

	"refresher/test/nodetest"
)

func TestMain(m *testing.M) { nodetest.Main(m) }
