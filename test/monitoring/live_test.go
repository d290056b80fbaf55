//go:build programs

package monitoring

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"

	"refresher/test/collector"
	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
	"refresher/test/program"
	"refresher/test/redistest"
)

var panels = flag.Bool("panels", false, "print what each panel of the dashboard shows")

func TestMain(m *testing.M) { nodetest.Main(m) }

// tokens is the lifetime of the calls' tokens, which are renewed after half of it.
const tokens = 12 * time.Second

const secret = "the secret that signs the webhooks"

// stack is what an operator runs: nodes, Redis, a back end, a collector of traces, and calls.
type stack struct {
	t         *testing.T
	redis     *redistest.Server
	fleet     nodetest.Fleet
	calls     *calls.Calls
	collector *collector.Collector
}

func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, redis: redistest.Start(t), collector: collector.Start(t)}
	backEnd := httptest.NewServer(http.HandlerFunc(decide))
	t.Cleanup(backEnd.Close)
	for i := range 3 {
		n := nodetest.New(t, fmt.Sprintf("node %d", i), "--redis-url="+s.redis.URL(), "--ops-listen="+program.Address(t),
			"--authorize-url="+backEnd.URL+"/may", "--authorize-secret="+secret,
			"--events-url="+backEnd.URL+"/events", "--events-secret="+secret, "--max-sessions=1000")
		n.Setenv("OTEL_TRACES_EXPORTER=otlp")
		n.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT=" + s.collector.URL)
		n.Start()
		s.fleet = append(s.fleet, n)
	}
	s.calls = calls.Hold(t, calls.Config{Count: 30, TTL: tokens, URL: "ws://localhost/v1/ws", Transport: s.fleet.Transport})
	return s
}

func decide(w http.ResponseWriter, r *http.Request) {
	var request struct{ Requests []struct{ ID string } }
	_ = json.NewDecoder(r.Body).Decode(&request) // an event has no field `requests`, so the list of decisions stays empty
	decisions := []map[string]any{}
	for _, q := range request.Requests {
		decisions = append(decisions, map[string]any{"id": q.ID, "allow": true})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"decisions": decisions})
}

func (s *stack) targets() []string {
	var all []string
	for _, n := range s.fleet {
		all = append(all, n.OpsAddr())
	}
	return all
}

func (s *stack) use() {
	for _, n := range s.fleet {
		for _, path := range []string{"/ping", "/rtc/daily/publisher/uid/1/", "/v1/sessions?limit=5", "/nothing"} {
			request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+n.Addr()+path, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			request.Close = true
			if response, err := http.DefaultClient.Do(request); err == nil {
				response.Body.Close()
			}
		}
	}
}

// shown returns the query of a panel as Grafana sends it if the user has selected "All".
func shown(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$job", "refresher", "$node", ".+").Replace(expr)
}

// reasons has the queries that show nothing in this test, by their panel and name, and says why.
var reasons = map[string]string{
	"Credentials A":                      "the nodes ask for none",
	"Files that are followed, and TLS B": "the nodes do not use TLS",
}

func TestLive(t *testing.T) {
	s := startStack(t)
	p := startPrometheus(t, s.targets(), "--enable-feature=exemplar-storage")
	native := startPrometheus(t, s.targets(), "--enable-feature=native-histograms")
	p.eventually("renewals are seen", func() (bool, string) {
		s.use()
		got, err := p.query(`sum(rate(refresher_renewals_total{outcome="acked"}[1m]))`)
		return err == nil && len(got) == 1 && got[0].Value > 1, fmt.Sprint(got, err)
	})
	// These calls begin after the first scrape, so that Prometheus sees their counters increase.
	late := calls.Hold(t, calls.Config{Count: 6, TTL: tokens, URL: "ws://localhost/v1/ws", Transport: s.fleet.Transport})
	late.AwaitRenewals(late.Mark(), 1)

	t.Run("every query shows something", func(t *testing.T) { s.panels(t, p) })
	t.Run("every rule is evaluated", func(t *testing.T) { rules(t, p) })
	t.Run("nothing is wrong", func(t *testing.T) {
		if all, err := p.alerts(); err != nil || len(urgent(all)) > 0 {
			t.Errorf("%v %v", urgent(all), err)
		}
	})
	t.Run("native histograms", func(t *testing.T) {
		for _, name := range []string{"refresher_push_lag_seconds", "refresher_ack_seconds", "refresher_renewal_margin_seconds"} {
			expr := `histogram_quantile(0.5, sum(rate(` + name + `[1m])))`
			got, err := native.query(expr)
			if err != nil || len(got) != 1 || math.IsNaN(float64(got[0].Value)) {
				t.Errorf("%s: %v %v", expr, got, err)
			}
		}
		native.is("RefresherNoBuckets", true) // this Prometheus keeps only native histograms, so the classic buckets are missing
		p.is("RefresherNoBuckets", false)
	})
	t.Run("exemplars lead to traces", func(t *testing.T) {
		ids, err := p.exemplars(`refresher_renewal_margin_seconds_bucket`)
		if err != nil || len(ids) == 0 {
			t.Fatalf("no exemplars: %v", err)
		}
		p.eventually("a trace of an exemplar has arrived", func() (bool, string) {
			for _, span := range s.collector.Spans() {
				if slices.Contains(ids, span.Trace) {
					return true, ""
				}
			}
			return false, fmt.Sprint(len(s.collector.Spans()), " spans")
		})
	})
	t.Run("Redis is away, and back", func(t *testing.T) {
		s.redis.Kill()
		p.is("RefresherStoreAway", true)
		s.redis.Restart()
		p.is("RefresherStoreAway", false)
	})
	t.Run("a node is killed, and started again", func(t *testing.T) {
		s.fleet[0].Kill()
		p.is("RefresherNodeDown", true)
		s.fleet[0].Start()
		p.is("RefresherNodeDown", false)
	})
	// The killed node counts as one fault, which may have delayed renewals.
	t.Log(s.calls.Verdict(1))
}

// is waits until an alert is active, which means pending or firing, or until it is inactive if `pending` is false.
func (p *prometheus) is(name string, pending bool) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%s: pending %v", name, pending), func() (bool, string) {
		all, err := p.alerts()
		found := slices.ContainsFunc(all, func(a model.LabelSet) bool { return a["alertname"] == model.LabelValue(name) })
		return err == nil && found == pending, fmt.Sprint(all, err)
	})
}

// urgent returns the active alerts that need an operator. It omits alerts about tokens with less than 30 s left, since
// tokens of 12 s never have 30 s left.
func urgent(all []model.LabelSet) []model.LabelSet {
	return slices.DeleteFunc(all, func(a model.LabelSet) bool {
		short := []model.LabelValue{"RefresherSessionsAtRisk", "RefresherAtRiskLingers", "RefresherBudgetBurnsFast", "RefresherBudgetBurnsSlowly", "RefresherPeakAhead"}
		return a["severity"] == "info" || slices.Contains(short, a["alertname"])
	})
}

func (s *stack) panels(t *testing.T, p *prometheus) {
	out := tabwriter.NewWriter(io.Discard, 0, 0, 2, ' ', 0)
	if *panels {
		out = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	}
	d, nodes := readDashboard(t), s.targets()
	for _, panel := range d.Panels {
		if panel.Type == "row" {
			fmt.Fprintf(out, "\n== %s\n", panel.Title)
			continue
		}
		for _, target := range panel.Targets {
			ask := p.queryRange
			if target.Instant {
				ask = p.query
			}
			got, err := ask(shown(target.Expr))
			if err != nil {
				t.Errorf("%q: %v", panel.Title, err)
			}
			slices.SortStableFunc(got, func(a, b *model.Sample) int {
				return strings.Compare(s.legend(target.LegendFormat, a.Metric), s.legend(target.LegendFormat, b.Metric))
			})
			empty := true
			for _, v := range got {
				if node := string(v.Metric["instance"]); node != "" && !slices.Contains(nodes, node) {
					t.Errorf("%q shows %s, which is no node", panel.Title, node)
				}
				if !math.IsNaN(float64(v.Value)) {
					empty = false
					fmt.Fprintf(out, "%s\t%s\t%s\n", panel.Title, s.legend(target.LegendFormat, v.Metric), inUnit(float64(v.Value), panel.unit(target.RefID)))
				}
			}
			if why := reasons[panel.Title+" "+target.RefID]; empty != (why != "") {
				t.Errorf("%q, query %s, %s, shows nothing: %v; want a reason for that, not %q", panel.Title, target.RefID, target.Expr, empty, why)
			} else if why != "" {
				fmt.Fprintf(out, "%s\t\t%s (%s)\n", panel.Title, panel.FieldConfig.Defaults.NoValue, why)
			}
		}
	}
	if err := out.Flush(); err != nil {
		t.Error(err)
	}
}

// legend returns the name of a series. It has the node's name in place of the node's address.
func (s *stack) legend(format string, labels model.Metric) string {
	for key, label := range labels {
		value := string(label)
		for _, n := range s.fleet {
			if n.OpsAddr() == value {
				value = n.Name()
			}
		}
		format = strings.ReplaceAll(format, "{{"+string(key)+"}}", value)
	}
	return regexp.MustCompile(`\{\{\w+\}\}`).ReplaceAllString(format, "")
}

func inUnit(v float64, unit string) string {
	switch unit {
	case "s":
		return fmt.Sprintf("%.3g s", v)
	case "ops", "reqps":
		return fmt.Sprintf("%.2f/s", v)
	case "percentunit":
		return fmt.Sprintf("%.1f%%", v*100)
	case "bytes":
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case "bool_on_off":
		return map[bool]string{true: "On", false: "Off"}[v != 0]
	case "bool_yes_no":
		return map[bool]string{true: "Yes", false: "No"}[v != 0]
	}
	return fmt.Sprintf("%.4g", v)
}

func rules(t *testing.T, p *prometheus) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("/api/v1/rules", nil, &data); err != nil || len(data.Groups) == 0 {
		t.Fatal(data, err)
	}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}
}
