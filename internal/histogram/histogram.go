// Package histogram has the options that all histograms of the service share.
package histogram

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Opts adds a native histogram to o. The classic buckets remain, for Prometheus servers without native histograms. Each
// native bucket is 10% wider than the one below. 100 buckets are enough to count both the short durations of a quiet
// night and the long durations of a reconnect storm. If more buckets are needed, the histogram is reset, but at most
// once an hour. Until the reset, its buckets become wider.
func Opts(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 100
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}
