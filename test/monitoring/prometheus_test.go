//go:build programs

package monitoring

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// scrapeEvery is the interval of scrapes and of rule evaluations, shorter than in a
// deployment.
const scrapeEvery = 500 * time.Millisecond

// prometheus is a running Prometheus server.
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
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	var log program.Journal
	p, err := program.Start(&log, program.Command{
		Path: path, Dir: dir, Env: []string{"HOME=" + dir},
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

// sample is one value of a query's result, with its labels.
type sample struct {
	labels map[string]string
	value  float64
}

// result is one series in Prometheus's answer to a query.
type result struct {
	Metric    map[string]string
	Value     []any
	Values    [][]any
	Histogram []any
}

// query evaluates an expression now.
func (p *prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []result }
	if err := p.get("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	var all []sample
	for _, r := range data.Result {
		if len(r.Histogram) > 0 {
			all = append(all, sample{labels: r.Metric})
			continue
		}
		value, err := number(r.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, sample{r.Metric, value})
	}
	return all, nil
}

// queryRange evaluates an expression over the last minute, and returns the last
// value of each series that is a number.
func (p *prometheus) queryRange(expr string) ([]sample, error) {
	var data struct{ Result []result }
	now := time.Now()
	if err := p.get("/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"1"}, "start": {unix(now.Add(-time.Minute))}, "end": {unix(now)},
	}, &data); err != nil {
		return nil, err
	}
	var all []sample
	for _, r := range data.Result {
		last := math.NaN()
		for _, v := range r.Values {
			value, err := number(v)
			if err != nil {
				return nil, err
			}
			if !math.IsNaN(value) {
				last = value
			}
		}
		if !math.IsNaN(last) {
			all = append(all, sample{r.Metric, last})
		}
	}
	return all, nil
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func number(pair []any) (float64, error) {
	if len(pair) != 2 {
		return 0, fmt.Errorf("not a sample: %v", pair)
	}
	text, _ := pair[1].(string)
	return strconv.ParseFloat(text, 64)
}

// alert is a pending or firing alert.
type alert struct {
	Labels map[string]string
	State  string
}

func (p *prometheus) alerts() ([]alert, error) {
	var data struct{ Alerts []alert }
	err := p.get("/api/v1/alerts", nil, &data)
	return data.Alerts, err
}

// exemplars returns the trace ids in a metric's exemplars.
func (p *prometheus) exemplars(metric string) ([]string, error) {
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	now := time.Now()
	err := p.get("/api/v1/query_exemplars", url.Values{
		"query": {metric}, "start": {unix(now.Add(-time.Hour))}, "end": {unix(now)},
	}, &data)
	var ids []string
	for _, series := range data {
		for _, e := range series.Exemplars {
			ids = append(ids, e.Labels["trace_id"])
		}
	}
	return ids, err
}

// get sends a request to Prometheus, and reads the data of the answer.
func (p *prometheus) get(path string, values url.Values, data any) error {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		return err
	}
	if values == nil {
		request.Method = http.MethodGet
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Close = true // an idle connection would outlive the test
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", values.Get("query"), answer.Error)
	}
	return nil
}

// eventually waits until the function `holds` returns true. It calls `holds` once for each scrape, since Prometheus
// cannot notify of a result. The result `why` says what is missing.
func (p *prometheus) eventually(what string, holds func() (ok bool, why string)) {
	p.t.Helper()
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	timeout := time.NewTimer(nodetest.Patience)
	defer timeout.Stop()
	for {
		ok, why := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			p.t.Fatalf("%s: %s", what, why)
		}
	}
}
