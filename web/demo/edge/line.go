package edge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// MaxLine is the greatest length of a line in either direction, in bytes, with its newline.
const MaxLine = 8 << 10

// request is a line that a client sends.
type request struct {
	Op      string `json:"op"`
	Leg     Leg    `json:"leg"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user,omitempty"`
	Token   string `json:"token,omitempty"`
	ID      int64  `json:"id"`
}

const (
	opJoin  = "join"
	opRenew = "renew"
	opLeave = "leave"
)

// reply is the line that answers a request.
type reply struct {
	ID      int64  `json:"id"` // the request's id, or 0 if that could not be parsed
	OK      bool   `json:"ok"`
	Publish *bool  `json:"publish,omitempty"` // set when an rtc join or renew is accepted
	Code    int    `json:"code,omitempty"`
	Error   string `json:"error,omitempty"`
}

func newLineReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, MaxLine) }

var errLongLine = errors.New("line too long")

// readLine returns the next line without its newline; the bytes are valid until the next call. If a line does not fit
// into the reader's buffer, readLine skips it and returns errLongLine. A line without a newline at the end of the
// connection is an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err != nil {
		return nil, err
	}
	return nil, errLongLine
}

// parseRequest parses a line strictly. If it refuses a line, it returns a request with only the id, if that could be
// parsed, so that the answer has the id.
func parseRequest(line []byte) (request, *Error) {
	var q request
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		q.ID = max(q.ID, 0)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return q, refuse(CodeInvalidParams, "the line is not a whole JSON object")
		}
		return q, refuse(CodeInvalidParams, "the line is not understood: %.200s", err.Error())
	}
	_, err := decoder.Token()
	switch {
	case !errors.Is(err, io.EOF):
		return request{}, refuse(CodeInvalidParams, "the line holds more than one JSON object")
	case q.ID < 1:
		return request{}, refuse(CodeInvalidParams, "id is missing or below 1")
	case q.Leg != RTC && q.Leg != RTM && q.Leg != Chat:
		return q, refuse(CodeInvalidParams, "leg %.20q is none of rtc, rtm, chat", string(q.Leg))
	case q.Op != opJoin && q.Op != opRenew && q.Op != opLeave:
		return q, refuse(CodeInvalidParams, "op %.20q is none of join, renew, leave", q.Op)
	}
	return q, nil
}

// encode returns a value as a line of JSON.
func encode(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // impossible: all values are plain structs of this package
	}
	return b.Bytes()
}
