package logging

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds one value of a line, in bytes.
const maxText = 8 << 10

// Printable makes texts harmless that callers wrote: SDKs' messages, headers, names in
// credentials. Whatever does not print, or could change how the rest of the line looks
// (control characters, also U+0085 and U+009B; marks of direction such as U+202E), is
// written as strconv.Quote does; a long text is cut. It is a ReplaceAttr for slog's
// handlers, which escape what is under U+0020 themselves.
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

// printable is text, cut and escaped.
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

// hidden reports whether a reader would not see r as it is.
func hidden(r rune) bool { return r >= ' ' && !unicode.IsPrint(r) }
