package redis

import (
	_ "embed" // provides the source of the Lua scripts
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

var (
	//go:embed scripts/fence.lua
	fenceSource string
	//go:embed scripts/save.lua
	saveSource string
	//go:embed scripts/acquire.lua
	acquireSource string
	//go:embed scripts/wish.lua
	wishSource string
	//go:embed scripts/claim.lua
	claimSource string
	//go:embed scripts/lease.lua
	leaseSource string
	//go:embed scripts/revoke.lua
	revokeSource string

	saveScript    = fenced(saveSource)
	acquireScript = fenced(acquireSource)
	wishScript    = fenced(wishSource)
	claimScript   = fenced(claimSource)
	leaseScript   = goredis.NewScript(leaseSource)
	revokeScript  = goredis.NewScript(revokeSource)
)

// fenced returns a script that starts with the functions of fence.lua, which read and
// write fences, followed by source.
func fenced(source string) *goredis.Script {
	return goredis.NewScript(fmt.Sprintf("local FORMAT = '%d'\n", store.Format) + fenceSource + source)
}
