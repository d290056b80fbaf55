// Package histogram has the options that all histograms of the service share.
package histogram

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Opts are the options of a histogram with the classic buckets of o, which any
// Prometheus reads, and native ones, which are finer, for those that ask for them.
// Native buckets are a tenth apart, and at most 100: those of a quiet night and of
// a storm together. Beyond that they are made anew, once an hour at most, or wider.
func Opts(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 100
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}
