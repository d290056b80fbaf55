// Package histogram has the options that all histograms of the service share.
package histogram

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Opts adds a native histogram to o, whose classic buckets remain for Prometheus servers without
// native histograms. Each native bucket is 10% wider than the one before. There are at most 100,
// enough for a quiet night and a storm together; if more are needed, the histogram is reset, at
// most once an hour, or else its buckets become wider.
func Opts(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 100
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}
