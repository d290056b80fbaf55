package api

import "testing"

// An error names the field by its path, as the caller wrote it, and describes the valid values.
func TestParseSaysWhatWouldFit(t *testing.T) {
	for body, want := range map[string]string{
		`{"uid":"1001"}`:           "uid: want a whole number from 0 to 4294967295, have a string",
		`{"uid":-1}`:               "uid: want a whole number from 0 to 4294967295, have the number -1",
		`{"channel":{}}`:           "channel: want a string, have a JSON object",
		`{"Channel":1}`:            "Channel: want a string, have a number",
		`{"for":"1h"}`:             "for: want a whole number, have a string",
		`{"for":true}`:             "for: want a whole number, have true or false",
		`[]`:                       "body: want a JSON object, have a JSON list",
		`uid=1`:                    "body: want a JSON object; what follows its first 0 bytes is not JSON",
		`{"uid":`:                  "body: want a JSON object; it ends too early",
		`{"uid":1,"account":null}`: "",
	} {
		have := ""
		if err := parse([]byte(body), new(revocationRequest)); err != nil {
			have = err.Error()
		}
		if have != want && have != "bad_request: "+want {
			t.Errorf("%s: %q, want %q", body, have, want)
		}
	}
	const want = `bad_request: rtc.role: want "publisher" or "subscriber", have a number`
	if err := parse([]byte(`{"rtc":{"role":5}}`), new(changeRequest)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
