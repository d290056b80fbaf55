// Package histogram has the options that all histograms of the service share.
package histogram

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Opts adds a native histogram to o. The classic buckets remain, for Prometheus servers without native
// histograms. Each native bucket is 10% wider than the one below. 100 buckets are enough for a quiet night
// and a storm together. If more were needed, the histogram is reset, at most once an hour; between resets its
// buckets become wider.
func Opts(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 100
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}
