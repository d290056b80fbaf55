package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"refresher/internal/session"
)

const (
	// bodyTimeout is how long a handler waits for a body. Handlers read the body after they
	// have checked the request's credential or resume key; leave, whose key is in the body,
	// uses leaveBodyTimeout.
	bodyTimeout = 30 * time.Second
	// unreadTimeout is how long net/http waits for a body that no handler reads, before it
	// sends the answer: for example of a request without a credential. If the body arrives
	// later, the connection is closed after the answer.
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

// decodeAll decodes a body strictly: it refuses fields other than names, duplicate fields, and
// fields that are null or "".
func decodeAll(r *http.Request, into any, names ...string) error {
	var body json.RawMessage
	if err := decode(r, &body); err != nil {
		return err
	}
	var all map[string]jsontext.Value
	err := strict.Unmarshal(body, &all)
	if twice, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return session.Errorf(session.CodeBadRequest, "%.32q: is there twice", twice.JSONPointer.LastToken())
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

// isEmpty returns the error for an empty field or parameter that selects sessions by a name.
func isEmpty(name string) error {
	return session.Errorf(session.CodeBadRequest, "%s: is empty; leave it out, or say whom it names", name)
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

// parse decodes one JSON object.
func parse(body []byte, into any) error {
	var refused *session.Error
	var typed *json.UnmarshalTypeError
	switch err := json.Unmarshal(body, into); {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &typed) && typed.Field != "":
		field := strings.TrimPrefix(typed.Field, "selection.") // embedded
		return session.Errorf(session.CodeBadRequest, "%s: a JSON %s does not fit here", field, typed.Value)
	case errors.As(err, &typed): // its own text would show a Go type
		return session.Errorf(session.CodeBadRequest, "body: want a JSON object, have a JSON %s", typed.Value)
	default:
		return session.Errorf(session.CodeBadRequest, "body: want a JSON object: %v", err)
	}
}
