package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"refresher/internal/session"
)

const (
	// bodyTimeout is how long a handler waits for a request's body. Most handlers first check the request's credential
	// or resume key, and then read the body. The handler of a leave must read the body first, since the body may
	// contain the key; it waits only for leaveBodyTimeout.
	bodyTimeout = 30 * time.Second
	// unreadTimeout is how long net/http waits, before it sends an answer, for a body that no handler has read, for
	// example because the request had no credential. If the body has not arrived within this time, net/http closes the
	// connection after the answer.
	unreadTimeout = time.Second
)

// body is a request body. The first Read extends the connection's read deadline from
// unreadTimeout to timeout.
type body struct {
	io.ReadCloser

	connection *http.ResponseController
	timeout    time.Duration
	read       bool
}

// limitBody sets the read deadline for a request's body, without reading it. It returns nil if
// there is no body.
func limitBody(w http.ResponseWriter, r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &body{ReadCloser: r.Body, connection: http.NewResponseController(w), timeout: bodyTimeout}
	b.allow(unreadTimeout)
	r.Body = b
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.read {
		b.read = true
		b.allow(b.timeout)
	}
	return b.ReadCloser.Read(p)
}

func (b *body) allow(d time.Duration) {
	_ = b.connection.SetReadDeadline(time.Now().Add(d)) // fails only if the connection is closed; the read fails then, too
}

// errNoBody is the error for an empty body where one is required.
var errNoBody = session.Errorf(session.CodeBadRequest, "body: is empty; want a JSON object")

// decodeAll decodes a body strictly: it refuses fields that the parameter `names` does not list, duplicate fields, and
// fields that are null or "".
func decodeAll(r *http.Request, into any, names ...string) error {
	var body json.RawMessage
	if err := decode(r, &body); err != nil {
		return err
	}
	var all map[string]jsontext.Value
	err := strict.Unmarshal(body, &all)
	if twice, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return session.Errorf(session.CodeBadRequest, "%.32q: given twice; want it once", twice.JSONPointer.LastToken())
	}
	if wrong, ok := errors.AsType[*strict.SemanticError](err); ok {
		return session.Errorf(session.CodeBadRequest, "body: want a JSON object, have %s", given(wrong))
	}
	if err != nil || all == nil {
		return session.Errorf(session.CodeBadRequest, "body: want a JSON object, in UTF-8")
	}
	for name, value := range all {
		if !slices.Contains(names, name) {
			return session.Errorf(session.CodeBadRequest, "%.32q: there is no such field; want %s", name, strings.Join(names, ", "))
		}
		if text := string(value); text == "null" || text == `""` {
			return isEmpty(name)
		}
	}
	return parse(body, into)
}

// isEmpty returns the error for a field or parameter that should select sessions but is empty. The argument is its
// name.
func isEmpty(name string) error {
	return session.Errorf(session.CodeBadRequest, "%s: is empty; leave it out, or give a value", name)
}

// decode decodes the request's body, one JSON object.
func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return session.Errorf(session.CodeBadRequest, "body: want at most %d bytes", tooLong.Limit)
	case err != nil:
		return session.Errorf(session.CodeBadRequest, "body: not readable")
	case len(bytes.TrimSpace(body)) == 0:
		return errNoBody
	}
	return parse(body, into)
}

// lenient makes the decoder as tolerant as encoding/json, since clients of the classic token servers may send JSON that
// a strict decoder would refuse.
var lenient = strict.JoinOptions(
	strict.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
)

// parse reads one JSON object. Its error names the field by its path, as the caller wrote it,
// and describes the valid values.
func parse(body []byte, into any) error {
	err := strict.Unmarshal(body, into, lenient)
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*session.Error](err); ok { // the method UnmarshalJSON of a field returned this error
		return refused
	}
	if wrong, ok := errors.AsType[*strict.SemanticError](err); ok {
		path := strings.ReplaceAll(strings.TrimPrefix(string(wrong.JSONPointer), "/"), "/", ".")
		return session.Errorf(session.CodeBadRequest, "%.64s: want %s, have %s", cmp.Or(path, "body"), wanted(wrong.GoType), given(wrong))
	}
	if broken, ok := errors.AsType[*jsontext.SyntacticError](err); ok && !errors.Is(err, io.ErrUnexpectedEOF) {
		return session.Errorf(session.CodeBadRequest, "body: want a JSON object; what follows its first %d bytes is not JSON", broken.ByteOffset)
	}
	return session.Errorf(session.CodeBadRequest, "body: want a JSON object; it ends too early")
}

// wanted describes the JSON values that a Go type accepts.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[text]():
		return "a string or a whole number"
	case reflect.TypeFor[session.UnixSec]():
		return "whole Unix seconds"
	case reflect.TypeFor[session.Role]():
		return `"publisher" or "subscriber"`
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint32:
		return "a whole number from 0 to 4294967295"
	case reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a JSON list"
	default:
		return "a JSON object"
	}
}

// given describes the JSON value that was refused. The description quotes only numbers, since a text may be secret.
func given(wrong *strict.SemanticError) string {
	switch wrong.JSONKind {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		if n := len(wrong.JSONValue); n == 0 || n > 32 {
			return "a number"
		}
		return "the number " + string(wrong.JSONValue)
	case '[':
		return "a JSON list"
	default:
		return "a JSON object"
	}
}
