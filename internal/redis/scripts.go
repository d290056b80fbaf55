package redis

import (
	_ "embed" // for the scripts
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
	//go:embed scripts/give.lua
	giveSource string
	//go:embed scripts/version.lua
	versionSource string
	//go:embed scripts/report.lua
	reportSource string
	//go:embed scripts/lease.lua
	leaseSource string

	saveScript    = fenced(saveSource)
	acquireScript = fenced(acquireSource)
	wishScript    = fenced(wishSource)
	claimScript   = fenced(claimSource)
	giveScript    = goredis.NewScript(giveSource)
	versionScript = goredis.NewScript(versionSource)
	reportScript  = goredis.NewScript(reportSource)
	leaseScript   = goredis.NewScript(leaseSource)
)

// fenced is a script that looks at fences, behind the head that reads them.
func fenced(source string) *goredis.Script {
	return goredis.NewScript(fmt.Sprintf("local FORMAT = '%d'\n", store.Format) + fenceSource + source)
}
