package logging

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the length in bytes to which a value in a log line is cut.
const maxText = 8 << 10

// Printable makes texts from clients safe to log: SDKs' messages, headers, names in credentials. It escapes,
// as strconv.Quote does, characters that are invisible or could change how the rest of the line is displayed:
// control characters, including U+0085 and U+009B, and direction marks such as U+202E. It cuts long texts.
// Printable is a ReplaceAttr function for slog's handlers, which escape characters below U+0020 themselves.
func Printable(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(printable(a.Value.String()))
	case slog.KindAny:
		a.Value = printableAny(a.Value)
	default: // numbers, times
	}
	return a
}

func printableAny(value slog.Value) slog.Value {
	switch v := value.Any().(type) {
	case error:
		return slog.StringValue(printable(v.Error()))
	case []string:
		texts := make([]string, len(v))
		for i, text := range v {
			texts[i] = printable(text)
		}
		return slog.AnyValue(texts)
	default:
		return value
	}
}

// printable returns text, cut to maxText and with hidden characters escaped.
func printable(text string) string {
	cut := ""
	if len(text) > maxText {
		cut = fmt.Sprintf("… (of %d bytes)", len(text))
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	if strings.IndexFunc(text, hidden) < 0 {
		return text + cut
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 1<<16:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String() + cut
}

// hidden reports whether r must be escaped. slog's handlers already escape characters below U+0020.
func hidden(r rune) bool { return r >= ' ' && !unicode.IsPrint(r) }
