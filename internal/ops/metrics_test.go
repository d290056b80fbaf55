package ops_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestMetricsAreThereAndWellFormed(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	s.Send(`{"type":"ping"}`) // the answer to this message shows that the join was counted
	s.Expect(protocol.TypePong)
	_, metrics := n.Ops("/metrics")
	problems, err := promlint.New(strings.NewReader(metrics)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "refresher_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, line := range []string{
		`refresher_sessions{state="attached"} 1`, `refresher_sessions{state="detached"} 0`,
		`refresher_tokens_issued_total{cause="join",service="rtc",version="007"} 1`,
		`refresher_tokens_issued_total{cause="join",service="rtm",version="007"} 1`,
		`refresher_renewals_total{outcome="acked"} 0`, `refresher_renewals_total{outcome="nacked"} 0`,
		`refresher_renewals_total{outcome="expired"} 0`, `refresher_renewals_total{outcome="ended"} 0`,
		`refresher_tokens_ran_out_total{client="attached"} 0`, `refresher_tokens_ran_out_total{client="detached"} 0`,
		`refresher_push_lag_seconds_count 0`, `refresher_ack_seconds_count 0`, `refresher_renewal_margin_seconds_count 0`,
		`refresher_sessions_at_risk 0`, `refresher_schedule_due_seconds_bucket{le="900"} 0`, `refresher_schedule_due_seconds_count 1`,
		`refresher_joins_total{outcome="joined"} 1`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	for _, secret := range []string{apptest.Certificate, `channel="`, `uid="`, `session="`} {
		if strings.Contains(metrics, secret) {
			t.Errorf("the metrics show %s", secret)
		}
	}
	if response, text := n.Ops("/healthz"); response.StatusCode != http.StatusOK || text != "ok\n" {
		t.Errorf("healthz: %d %q", response.StatusCode, text)
	}
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for _, r := range [][2]string{
		{http.MethodGet, "/ping"},
		{http.MethodGet, "/rtc/secret-channel/publisher/uid/1001/"},
		{http.MethodGet, "/rtc/secret-channel/nobody/uid/1001/"},
		{http.MethodGet, "/v1/sessions"},
		{http.MethodGet, "/v1/sessions/secret-session"},
		{http.MethodDelete, "/v1/sessions/secret-session"},
		{http.MethodPost, "/ping"},
		{http.MethodGet, "/secret"},
	} {
		n.Do(r[0], r[1], "")
	}
	s := n.Dial() // counts as a connection, not as an HTTP request
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	_, metrics := n.Ops("/metrics")
	var got []string
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "refresher_http_requests_total") || strings.HasPrefix(line, "refresher_http_request_seconds_count") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`refresher_http_request_seconds_count{route="DELETE /v1/sessions/*"} 1`,
		`refresher_http_request_seconds_count{route="GET /ping"} 1`,
		`refresher_http_request_seconds_count{route="GET /rtc/*/*/*/*"} 2`,
		`refresher_http_request_seconds_count{route="GET /v1/sessions"} 1`,
		`refresher_http_request_seconds_count{route="GET /v1/sessions/*"} 1`,
		`refresher_http_request_seconds_count{route="other"} 2`,
		`refresher_http_requests_total{code="200",route="GET /ping"} 1`,
		`refresher_http_requests_total{code="200",route="GET /rtc/*/*/*/*"} 1`,
		`refresher_http_requests_total{code="200",route="GET /v1/sessions"} 1`,
		`refresher_http_requests_total{code="400",route="GET /rtc/*/*/*/*"} 1`,
		`refresher_http_requests_total{code="404",route="DELETE /v1/sessions/*"} 1`,
		`refresher_http_requests_total{code="404",route="GET /v1/sessions/*"} 1`,
		`refresher_http_requests_total{code="404",route="other"} 1`,
		`refresher_http_requests_total{code="405",route="other"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(metrics, "secret") {
		t.Error("the metrics show what was asked for")
	}
}

// Exemplars are in the OpenMetrics format, native histograms in the protobuf format.
func TestFormatsOfMetrics(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	s.Send(`{"type":"renew"}`)
	m := s.Expect(protocol.TypeWillExpire)
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	s.Send(`{"type":"ping"}`)
	s.Expect(protocol.TypePong)
	if text := n.Scrape("application/openmetrics-text; version=1.0.0"); !strings.HasSuffix(text, "# EOF\n") {
		t.Error("that is no OpenMetrics")
	}
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	families := make(map[string]*dto.MetricFamily)
	for decoder := expfmt.NewDecoder(strings.NewReader(n.Scrape(string(format))), format); ; {
		family := &dto.MetricFamily{}
		if err := decoder.Decode(family); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = family
	}
	for _, name := range []string{"refresher_ack_seconds", "refresher_renewal_margin_seconds"} {
		h := families[name].GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 1 || len(h.GetBucket()) < 10 || len(h.GetPositiveSpan())+int(h.GetZeroCount()) == 0 {
			t.Errorf("%s is not both classic and native: %v", name, h)
		}
	}
}
