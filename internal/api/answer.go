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

// problem is the body of a refusal.
type problem struct {
	Error  string       `json:"error"`
	Code   session.Code `json:"code"`
	Status int          `json:"status"`
}

// gone is a problem with what an ended message says.
type gone struct {
	problem

	Reason       session.EndReason `json:"reason"`
	AccessEndsAt session.UnixSec   `json:"accessEndsAt"` // 0: not known
}

// statusHungUp is the status that nginx logs for a client that hung up before its answer.
const statusHungUp = 499

// fail answers err: a *session.Error or *session.EndedError as it is, anything else as an
// internal error, whose cause is in the log only.
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
		if refused.RetryAfter > 0 { // in whole seconds, and not too early
			w.Header().Set("Retry-After", strconv.FormatInt(int64((refused.RetryAfter+time.Second-1)/time.Second), 10))
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		a.write(w, status, problem{refused.Message, refused.Code, status})
	case errors.Is(err, context.Canceled): // of the request; a client that only closed its sending side reads this
		a.write(w, statusHungUp, problem{"the client hung up", session.CodeUnavailable, statusHungUp})
	case errors.As(err, &unsaved):
		a.write(w, http.StatusServiceUnavailable, unsaved)
	default:
		a.config.Logger.Error("request failed", "error", err)
		a.write(w, http.StatusInternalServerError, problem{"the server failed; try again", session.CodeInternal, http.StatusInternalServerError})
	}
}

// noContent is an answer without a body, 204.
type noContent struct{}

func (a *API) write(w http.ResponseWriter, status int, value any) {
	kind := "application/json; charset=utf-8"
	body, err := json.Marshal(value)
	if err != nil {
		a.config.Logger.Error("encode answer", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"the server failed; try again","code":"internal","status":500}`)
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
		a.config.Logger.Debug("answer not delivered", "error", err)
	}
}

// asRefusal is what of err is meant for callers, if anything is.
func asRefusal(err error) (*session.Error, bool) { return errors.AsType[*session.Error](err) }
