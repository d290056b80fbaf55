package ops_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestMetrics(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.MaxSessions, c.LogDropped = 7, func() uint64 { return 3 } })
	for _, r := range [][2]string{
		{http.MethodGet, "/ping"},
		{http.MethodGet, "/rtc/secret-channel/publisher/uid/1001/"},
		{http.MethodGet, "/rtc/secret-channel/nobody/uid/1001/"},
		{http.MethodDelete, "/v1/sessions/secret-session"},
		{http.MethodPost, "/ping"},
		{http.MethodGet, "/secret"},
	} {
		n.Do(r[0], r[1], "")
	}
	s := n.Dial() // this WebSocket counts as a connection, not as an HTTP request
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
		`refresher_http_request_seconds_count{route="GET /rtc/*/*/*/*"} 2`,
		`refresher_http_requests_total{code="200",route="GET /ping"} 1`,
		`refresher_http_requests_total{code="200",route="GET /rtc/*/*/*/*"} 1`,
		`refresher_http_requests_total{code="400",route="GET /rtc/*/*/*/*"} 1`,
		`refresher_http_requests_total{code="404",route="DELETE /v1/sessions/*"} 1`,
		`refresher_http_requests_total{code="404",route="other"} 1`,
		`refresher_http_requests_total{code="405",route="other"} 1`,
		`refresher_sessions{state="attached"} 1`, `refresher_sessions{state="detached"} 0`,
		`refresher_tokens_issued_total{cause="join",service="rtc",version="007"} 1`,
		`refresher_renewals_total{outcome="acked"} 0`, `refresher_tokens_ran_out_total{client="attached"} 0`,
		`refresher_sessions_at_risk 0`, `refresher_schedule_due_seconds_bucket{le="900"} 0`, `refresher_schedule_due_seconds_count 1`,
		`refresher_joins_total{outcome="joined"} 1`, `refresher_ready 1`, `refresher_session_limit 7`, `refresher_log_lines_dropped_total 3`, `go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	for _, secret := range []string{apptest.Certificate, "secret-", `channel="`, `uid="`, `session="`, `route="GET /v1/ws"`} {
		if strings.Contains(metrics, secret) {
			t.Errorf("the metrics show %s", secret)
		}
	}
	if text := n.Scrape("application/openmetrics-text; version=1.0.0"); !strings.HasSuffix(text, "# EOF\n") {
		t.Error("that is no OpenMetrics")
	}
}

// A node refuses other hosts if its operations port listens on loopback. TestLoopbackServesOnlyLocalhost tests which
// hosts are refused.
func TestOpsPortKnowsWhetherItIsOnLoopback(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:0": http.StatusMisdirectedRequest, "0.0.0.0:0": http.StatusOK} {
		n := apptest.StartNode(t, func(c *app.Config) { c.OpsListen = address })
		_, port, _ := net.SplitHostPort(n.App.OpsAddr().String())
		if got, _ := n.Request(http.MethodGet, "http://127.0.0.1:"+port+"/healthz", "", "Host", "node1.example:9090"); got.StatusCode != want {
			t.Errorf("%s: %d", address, got.StatusCode)
		}
	}
}
