package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// Any text of a client is shown in one line of the log, without control characters for a terminal.
func TestEverythingInALineIsPrintable(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r <= 0xe0100; r++ {
		if !unicode.IsPrint(r) && (r < 0x2100 || r >= 0xe000 && r < 0xe010 || r >= 0xfe00 && r < 0x10000 || r >= 0xe0000) {
			all.WriteRune(r)
		}
	}
	options := &slog.HandlerOptions{ReplaceAttr: Printable}
	for _, value := range []any{all.String(), errors.New(all.String()), []string{all.String()}} {
		var line bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&line, options), slog.NewTextHandler(&line, options)} {
			line.Reset()
			slog.New(handler).With("given", value).Warn("message", "value", value)
			text, more := strings.CutSuffix(line.String(), "\n")
			if !more || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%T: %q", value, text)
			}
		}
	}
}

func TestWhatIsPrintableStaysAsItIs(t *testing.T) {
	const said = "C:\\temp\tübergrößenträger 日本 😀 \"quoted\"\nsecond line"
	long := strings.Repeat("€", maxText)
	var line bytes.Buffer
	slog.New(slog.NewJSONHandler(&line, &slog.HandlerOptions{ReplaceAttr: Printable})).Warn(
		"message", "value", said, "number", 3, "escaped", "a\u009b[31m\x7f\U000e0001", "long", long)
	var got struct {
		Value, Escaped, Long string
		Number               int
	}
	if err := json.Unmarshal(line.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Value != said || got.Number != 3 || got.Escaped != `a\u009b[31m\x7f\U000e0001` {
		t.Errorf("%+v", got)
	}
	if want := long[:maxText/3*3] + "… (of 24576 bytes)"; got.Long != want {
		t.Errorf("cut to %d bytes: …%s", len(got.Long), got.Long[len(got.Long)-40:])
	}
}
