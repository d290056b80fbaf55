package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// problem is the JSON body of an error answer.
type problem struct {
	Error  string       `json:"error"`
	Code   session.Code `json:"code"`
	Status int          `json:"status"`
}

// gone is the JSON body of the answer 410 for a session that has ended. It has the fields of the message `ended` that
// WebSocket clients get. AccessEndsAt is 0 if it is unknown.
type gone struct {
	problem

	Reason       session.EndReason `json:"reason"`
	AccessEndsAt session.UnixSec   `json:"accessEndsAt"`
}

// statusHungUp is the status that nginx logs if the client closed the connection before the answer.
const statusHungUp = 499

// fail answers with err. A *session.Error or *session.EndedError is shown to the client; any
// other error is logged and answered as an internal error.
func (a *API) fail(w http.ResponseWriter, err error) {
	var ended *session.EndedError
	var refused *session.Error
	var unsaved *unsavedError
	switch {
	case errors.As(err, &ended):
		a.write(w, http.StatusGone, gone{
			problem{ended.Error(), session.CodeUnknownSession, http.StatusGone}, ended.Reason, ended.AccessEndsAt,
		})
	case errors.As(err, &refused):
		status := protocol.StatusForError(refused.Code)
		if refused.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((refused.RetryAfter+time.Second-1)/time.Second), 10))
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		a.write(w, status, problem{refused.Message, refused.Code, status})
	case errors.Is(err, context.Canceled): // the client has closed the connection, or only its sending side; in the second case the client can still read this answer
		a.write(w, statusHungUp, problem{"the client hung up", session.CodeUnavailable, statusHungUp})
	case errors.As(err, &unsaved):
		a.write(w, http.StatusServiceUnavailable, unsaved)
	default:
		a.config.Logger.Error("request failed", "error", err)
		a.write(w, http.StatusInternalServerError, problem{"internal error; try again", session.CodeInternal, http.StatusInternalServerError})
	}
}

// noContent is an answer without a body, with status 204.
type noContent struct{}

func (a *API) write(w http.ResponseWriter, status int, value any) {
	kind := "application/json; charset=utf-8"
	body, err := json.Marshal(value)
	if err != nil {
		a.config.Logger.Error("response cannot be encoded", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error; try again","code":"internal","status":500}`)
	}
	switch value := value.(type) {
	case plainText:
		kind, body = "text/plain; charset=utf-8", []byte(value)
	case noContent:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		a.config.Logger.Debug("response not delivered", "error", err)
	}
}

// asRefusal returns the *session.Error in err, if there is one. Callers may see its text.
func asRefusal(err error) (*session.Error, bool) { return errors.AsType[*session.Error](err) }
