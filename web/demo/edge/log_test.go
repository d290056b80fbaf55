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
		tokens := []string{rtc("7", time.Minute).token(), rtc("8", time.Minute).token(), rtc("", time.Minute).token()}
		join := JoinRequest{RTC, "room", "7", tokens[1]}
		if _, err := e.Join(join); err == nil {
			t.Error("admitted")
		}
		join.Token = tokens[0]
		first := mustJoin(t, e, join)
		join.Token = tokens[2]
		call := mustJoin(t, e, join)
		if err := call.Renew(tokens[1]); err == nil {
			t.Error("renewed")
		}
		if err := call.Renew(tokens[0]); err != nil {
			t.Error(err)
		}
		first.Break() // leaving an ended call writes no line
		pass(time.Minute)
		e.Close()
		var got []string
		for line := range strings.Lines(out.String()) {
			var fields struct{ Msg, Leg, Channel, User string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if fields.Leg != "rtc" || fields.Channel != "room" || fields.User != "7" {
				t.Errorf("line %s", line)
			}
			got = append(got, fields.Msg)
		}
		want := []string{"join refused", "joined", "thrown out", "joined", "renewal refused", "renewed", WillExpire, "dropped", "left"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for _, secret := range append(tokens, testCert) {
			if strings.Contains(out.String(), secret[10:]) {
				t.Error("a token or the certificate is in the log")
			}
		}
	})
}
