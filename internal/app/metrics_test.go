package app

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"refresher/internal/protocol"
)

func TestMetricsAreThereAndWellFormed(t *testing.T) {
	n := startNode(t, nil)
	s := n.dial()
	s.send(join)
	s.expect(protocol.TypeJoined)
	s.send(`{"type":"ping"}`) // answered once the join is booked
	s.expect(protocol.TypePong)
	_, metrics := n.ops("/metrics")
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
		`refresher_push_lag_seconds_count 0`, `refresher_ack_seconds_count 0`, `refresher_renewal_margin_seconds_count 0`,
		`refresher_sessions_at_risk 0`, `refresher_schedule_due_seconds_bucket{le="900"} 0`, `refresher_schedule_due_seconds_count 1`,
		`refresher_joins_total{outcome="joined"} 1`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	for _, secret := range []string{testCertificate, `channel="`, `uid="`, `session="`} {
		if strings.Contains(metrics, secret) {
			t.Errorf("the metrics show %s", secret)
		}
	}
	if response, text := n.ops("/healthz"); response.StatusCode != http.StatusOK || text != "ok\n" {
		t.Errorf("healthz: %d %q", response.StatusCode, text)
	}
}
