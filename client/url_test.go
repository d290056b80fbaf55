package client

import "testing"

func TestURLOfTheServiceStandsForItsWebSocket(t *testing.T) {
	for text, want := range map[string]string{
		"wss://calls.example.com/v1/ws":   "wss://calls.example.com/v1/ws",
		"wss://calls.example.com":         "wss://calls.example.com/v1/ws",
		"ws://127.0.0.1:8080/":            "ws://127.0.0.1:8080/v1/ws",
		"ws://127.0.0.1:8080/elsewhere":   "ws://127.0.0.1:8080/elsewhere",
		"https://calls.example.com":       "wss://calls.example.com/v1/ws",
		"https://calls.example.com/v1/ws": "wss://calls.example.com/v1/ws",
		"http://127.0.0.1:8080/calls/":    "ws://127.0.0.1:8080/calls/v1/ws",
		" https://calls.example.com/ ":    "wss://calls.example.com/v1/ws",
		"calls.example.com":               "",
		"127.0.0.1:8080":                  "",
		"localhost:8080/v1/ws":            "",
		"ftp://calls.example.com":         "",
		"wss:///v1/ws":                    "",
		"":                                "",
	} {
		if got, err := endpoint(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
