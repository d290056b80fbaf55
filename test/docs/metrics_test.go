package docs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/hook"
	"refresher/test/generated"
	"refresher/test/redistest"
)

// TestMetricsAreGenerated generates the table of docs/operate/metrics.md from the metrics that
// a node registers when everything is configured.
func TestMetricsAreGenerated(t *testing.T) {
	const nowhere = "http://127.0.0.1:1" // no program listens on this port
	registry := prometheus.NewRegistry()
	certFile, keyFile := redistest.NewAuthority(t).Issue("localhost")
	apptest.StartWith(t, func(c *app.Config) {
		c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{JWKSURL: nowhere + "/keys"}
		c.Redis.URL, c.Redis.Prefix = "redis://127.0.0.1:1", "docs"
		c.Events = hook.Config{URL: nowhere, Secret: "a secret of the tests alone"}
		c.Authorize = hook.Config{URL: c.Events.URL, Secret: c.Events.Secret, Timeout: time.Second}
		c.TLSCertFile, c.TLSKeyFile, c.LogDropped = certFile, keyFile, func() uint64 { return 0 }
	}, app.Outside{Registry: registry}, apptest.Quiet)

	kinds := make(map[string]string)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	var rows [][]string
	for d := range descriptions {
		name, help, labels := parts(t, d)
		kind := kinds[name]
		switch { // A metric that has no sample yet gets its kind from its name.
		case !strings.HasPrefix(name, "refresher_"):
			continue
		case kind != "":
		case strings.HasSuffix(name, "_total"):
			kind = "counter"
		case strings.HasSuffix(name, "_seconds"):
			kind = "histogram"
		default:
			kind = "gauge"
		}
		row := []string{"`" + name + "`", kind, labels, help}
		// A metric with constant labels has several descriptions, but gets one row.
		if !slices.ContainsFunc(rows, func(r []string) bool { return r[0] == row[0] }) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(strings.Trim(a[0], "`"), strings.Trim(b[0], "`")) })
	generated.Block(t, metricsPage, "metrics", generated.Table([]string{"metric", "type", "labels", "meaning"}, rows...))
}

var description = regexp.MustCompile(`^Desc{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: {(.*)}, variableLabels: {(.*)}}$`)

func parts(t *testing.T, d *prometheus.Desc) (name, help, labels string) {
	t.Helper()
	m := description.FindStringSubmatch(d.String())
	if m == nil {
		t.Fatalf("%s: another form than before", d)
	}
	name, _ = strconv.Unquote(m[1])
	help, _ = strconv.Unquote(m[2])
	var all []string
	for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[3], -1) {
		all = append(all, "`"+l[1]+"`")
	}
	for l := range strings.SplitSeq(m[4], ",") {
		if l != "" {
			all = append(all, "`"+l+"`")
		}
	}
	return name, help, strings.Join(all, ", ")
}
