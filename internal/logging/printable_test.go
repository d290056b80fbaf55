package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

var handlers = map[string]func(io.Writer) slog.Handler{
	"JSON": func(w io.Writer) slog.Handler {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: Printable})
	},
	"text": func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: Printable})
	},
}

// Any text of a client is shown in one line of the log, without control characters for a terminal.
func TestEverythingInALineIsPrintable(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsPrint(r) && (r < 0x2100 || r >= 0xe000 && r < 0xe010 || r >= 0xfe00 && r < 0x10000 || r >= 0xe0000 && r < 0xe0100) {
			all.WriteRune(r)
		}
	}
	for name, handler := range handlers {
		for i, value := range []any{all.String(), errors.New(all.String()), []string{all.String()}, "\x7f", "\u009b", "\u202e"} {
			var line bytes.Buffer
			slog.New(handler(&line)).With("given", value).Warn("message", "value", value)
			text, more := strings.CutSuffix(line.String(), "\n")
			if !more || !isPrintable(text) {
				t.Errorf("%s, value %d: %q", name, i, text)
			}
		}
	}
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func TestWhatIsPrintableStaysAsItIs(t *testing.T) {
	const said = "C:\\temp\tübergrößenträger 日本 😀 \"quoted\"\nsecond line"
	var line bytes.Buffer
	slog.New(handlers["JSON"](&line)).Warn("message", "value", said, "number", 3, "escaped", "a\u009b[31m\x7f\U000e0001")
	var got struct {
		Value, Escaped string
		Number         int
	}
	if err := json.Unmarshal(line.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Value != said || got.Number != 3 || got.Escaped != `a\u009b[31m\x7f\U000e0001` {
		t.Errorf("%+v", got)
	}
}

func TestLongTextIsCut(t *testing.T) {
	var line bytes.Buffer
	slog.New(handlers["JSON"](&line)).Warn("message", "value", strings.Repeat("€", maxText))
	if n := line.Len(); n > maxText+200 || !strings.Contains(line.String(), "… (of 24576 bytes)") || strings.Contains(line.String(), "\uFFFD") {
		t.Errorf("a line of %d bytes: …%s", n, line.String()[n-40:])
	}
}
