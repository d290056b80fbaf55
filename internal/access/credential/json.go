package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"refresher/internal/session"
)

// The errors of these readers say what they want, and repeat nothing of what there
// is.
var (
	errNoJSON  = errors.New("want a JSON object")
	errTwice   = errors.New("a name stands there twice")
	errObject  = errors.New("want an object")
	errString  = errors.New("want a string")
	errList    = errors.New("want a list")
	errInteger = errors.New("want a whole number")
	errMoment  = errors.New("want Unix seconds")
	errUntil   = errors.New("want whole Unix seconds, not 0")
)

// fields are the members of a JSON object.
type fields map[string]json.RawMessage

// readDocument reads an object that is a document of its own. encoding/json alone
// would take the last of two members of one name, mend what is not UTF-8, and
// match names in any case; other readers don't, and who signed it was one of them.
func readDocument(text []byte) (fields, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errNoJSON
	}
	f, err := readObject(bytes.Trim(text, " \t\r\n"))
	if errors.Is(err, errObject) {
		return nil, errNoJSON
	}
	return f, err
}

// readObject reads raw, which is JSON in UTF-8 without space around it.
func readObject(raw json.RawMessage) (fields, error) {
	if raw[0] != '{' {
		return nil, errObject
	}
	f := fields{}
	for rest := after(raw[1:], ','); rest[0] != '}'; {
		n := length(rest)
		name, err := readString(rest[:n])
		if err != nil {
			return nil, errObject
		}
		if _, twice := f[name]; twice {
			return nil, errTwice
		}
		rest = after(rest[n:], ':')
		n = length(rest)
		f[name] = rest[:n]
		rest = after(rest[n:], ',')
	}
	return f, nil
}

// readList reads raw, which is JSON in UTF-8 without space around it.
func readList(raw json.RawMessage) ([]json.RawMessage, error) {
	if raw[0] != '[' {
		return nil, errList
	}
	l := []json.RawMessage{}
	for rest := after(raw[1:], ','); rest[0] != ']'; {
		n := length(rest)
		l = append(l, rest[:n])
		rest = after(rest[n:], ',')
	}
	return l, nil
}

// after is text behind white space and one separator, if there is one.
func after(text []byte, separator byte) []byte {
	for i, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n', separator:
		default:
			return text[i:]
		}
	}
	return nil
}

// length is how long the value is that text, which is JSON, begins with.
func length(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // whatever is escaped does not end the string
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && bytes.IndexByte([]byte(",:}] \t\r\n"), c) >= 0: // the end of a number or a word
			return i
		}
	}
	return len(text)
}

// spelled refuses a name that is one of known but for its case. Names that are not
// known are not looked at; but one that was meant to bound a grant, such as maxTTL,
// must not be among them.
func (f fields) spelled(known ...string) error {
	for name := range f {
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return fmt.Errorf("%s: stands there in other letters", k)
			}
		}
	}
	return nil
}

// readString reads raw, which is JSON in UTF-8, or nothing.
func readString(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errString
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errString
	}
	return s, nil
}

// readInteger reads a number without a fraction or an exponent.
func readInteger(raw json.RawMessage) (int64, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, errInteger
	}
	return n, nil
}

// readMoment reads Unix seconds. They may have a fraction, which is dropped: some
// libraries write one.
func readMoment(raw json.RawMessage) (session.UnixSec, error) {
	if len(raw) == 0 || raw[0] == '"' {
		return 0, errMoment
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(x >= 0) {
		return 0, errMoment
	}
	seconds := session.UnixSec(math.Floor(min(x, 2*float64(session.MaxUnix)))) // not beyond what fits
	return seconds, seconds.Check()
}
