package edge

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The log has one line for each event, and no secrets.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e, err := New(Config{AppID: testApp, Certificate: testCert, Logger: slog.New(slog.NewJSONHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		good, bad := inRoom("7", rtc("7", time.Minute)), inRoom("7", rtc("8", time.Minute))
		if _, err := e.Join(bad); err == nil {
			t.Error("admitted")
		}
		first, call := mustJoin(t, e, good), mustJoin(t, e, good)
		if err := call.Renew(bad.Token); err == nil {
			t.Error("renewed")
		}
		mustRenew(t, call, rtc("7", time.Minute))
		first.Break() // Break on an ended call logs nothing
		pass(time.Minute)
		e.Close()
		var got []string
		for line := range strings.Lines(out.String()) {
			var fields struct{ Msg, Leg, Channel, User string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil || fields.Leg != "rtc" || fields.Channel != "room" || fields.User != "7" {
				t.Errorf("%v: %s", err, line)
			}
			got = append(got, fields.Msg)
		}
		want := []string{"join refused", "joined", "thrown out", "joined", "renewal refused", "renewed", WillExpire, "dropped", "left"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for _, secret := range []string{good.Token, bad.Token, testCert} {
			if strings.Contains(out.String(), secret[10:]) {
				t.Error("a token or the certificate is in the log")
			}
		}
	})
}
