package authorize

import (
	"encoding/json"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Question asks whether a session may do something. Fields that are empty are
// left out of what the back end reads, but for Action and App.
type Question struct {
	Action session.Action
	App    string // the App ID
	// Session is the session's id; empty if it has none yet. Questions without
	// one are never shared.
	Session  string
	Subject  string // who the credential names
	Identity session.Identity
}

// question is a Question on the wire, but for the id, which begins it.
type question struct {
	Action  session.Action `json:"action"`
	App     string         `json:"app"`
	Session string         `json:"session,omitempty"`
	Subject string         `json:"subject,omitempty"`
	protocol.Identity
}

// encode writes q as the back end reads it, without an id.
func encode(q Question) string {
	text, err := json.Marshal(question{
		Action: q.Action, App: q.App, Session: q.Session, Subject: q.Subject, Identity: protocol.IdentityOf(q.Identity),
	})
	if err != nil {
		panic(err) // strings and numbers: no value of them leads here
	}
	return string(text)
}

// assemble writes the body of a request for the entries, the first of which has
// the first of ids.
func assemble(ids []string, batch []*entry) []byte {
	size := len(`{"requests":[]}`)
	for i, e := range batch {
		size += len(`{"id":"",`) + len(ids[i]) + len(e.text)
	}
	body := append(make([]byte, 0, size), `{"requests":[`...)
	for i, e := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"id":"`...)
		body = append(body, ids[i]...)
		body = append(body, `",`...)
		body = append(body, e.text[1:]...)
	}
	return append(body, `]}`...)
}
