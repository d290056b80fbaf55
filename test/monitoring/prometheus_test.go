//go:build programs

package monitoring

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// scrapeEvery is the interval of scrapes and of rule evaluations. It is shorter than in a deployment.
const scrapeEvery = 500 * time.Millisecond

type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus starts Prometheus with the rules of deploy/prometheus. It scrapes the
// targets as the job "refresher", and itself as another job.
func startPrometheus(t *testing.T, targets []string, flags ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("../../deploy/prometheus/refresher.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	address := program.Address(t)
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [%[2]s]
scrape_configs:
  - job_name: refresher
    static_configs: [{targets: %[3]s}]
  - job_name: other
    static_configs: [{targets: [%[4]q]}]
`, scrapeEvery, rules, quoted, address)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log program.Journal
	p, err := program.Start(&log, program.Command{
		Path: "prometheus", Dir: dir, Env: []string{"HOME=" + dir},
		Args: append([]string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
		}, flags...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", log.Tail(20))
		}
	})
	if err := log.Await(0, p.Done(), nodetest.Patience, func(l program.Line) bool {
		return strings.Contains(l.Text, "Server is ready to receive web requests")
	}); err != nil {
		t.Fatalf("start Prometheus: %v\n%s", err, log.Tail(20))
	}
	return &prometheus{t, "http://" + address}
}

func (p *prometheus) query(expr string) (model.Vector, error) {
	var data struct{ Result model.Vector }
	err := p.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

// queryRange evaluates an expression over the last minute, and returns the last
// value of each series that is a number.
func (p *prometheus) queryRange(expr string) (last model.Vector, err error) {
	var data struct{ Result model.Matrix }
	now := time.Now()
	err = p.get("/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"1"}, "start": {now.Add(-time.Minute).Format(time.RFC3339)}, "end": {now.Format(time.RFC3339)},
	}, &data)
	for _, series := range data.Result {
		for _, v := range slices.Backward(series.Values) {
			if !math.IsNaN(float64(v.Value)) {
				last = append(last, &model.Sample{Metric: series.Metric, Value: v.Value})
				break
			}
		}
	}
	return last, err
}

func (p *prometheus) alerts() ([]model.LabelSet, error) {
	var data struct {
		Alerts []struct{ Labels model.LabelSet }
	}
	err := p.get("/api/v1/alerts", nil, &data)
	var all []model.LabelSet
	for _, a := range data.Alerts {
		all = append(all, a.Labels)
	}
	return all, err
}

// exemplars returns the trace ids in a metric's exemplars.
func (p *prometheus) exemplars(metric string) (ids []string, err error) {
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	now := time.Now()
	err = p.get("/api/v1/query_exemplars", url.Values{
		"query": {metric}, "start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Format(time.RFC3339)},
	}, &data)
	for _, series := range data {
		for _, e := range series.Exemplars {
			ids = append(ids, e.Labels["trace_id"])
		}
	}
	return ids, err
}

func (p *prometheus) get(path string, values url.Values, data any) error {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	request.Close = true // an idle connection would outlive the test, and its goroutines would count as leaked
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" {
		return fmt.Errorf("%s: %s %w", values.Get("query"), answer.Error, err)
	}
	return nil
}

// eventually waits until the function `holds` returns true. It calls `holds` once per scrape, since Prometheus cannot
// notify the test of a change. The result `why` says what is missing.
func (p *prometheus) eventually(what string, holds func() (ok bool, why string)) {
	p.t.Helper()
	deadline := time.Now().Add(nodetest.Patience)
	for tick := time.Tick(scrapeEvery); ; <-tick {
		ok, why := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: %s", what, why)
		}
	}
}
