package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is the growth of the heap, in percent of the live heap, that starts a garbage collection. Go's default is
// 100. The variable GOGC overrides gcPercent. Most calls of a node are idle and make little garbage, so earlier
// collections cost little: with 5,000 calls the heap grows to 42 MB before a collection instead of 54 MB.
const gcPercent = 50

func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
