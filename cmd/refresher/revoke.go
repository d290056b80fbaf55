package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"refresher/internal/session"
)

type revokeCommand struct {
	operator `embed:""`
	Channel  *string        `help:"Sessions in this RTC channel."`
	UID      *uint32        `help:"Sessions of this RTC uid, or of the RTM or Chat user of the same digits."`
	Account  *string        `help:"Sessions of this RTC account, or RTM or Chat user."`
	Subject  *string        `help:"Sessions that this subject (sub of the credential) joined."`
	For      *time.Duration `help:"How long joins and resumes that match are refused, such as 1h. Default: --max-session of the service."`
}

// Run revokes the sessions that match all given flags.
func (c *revokeCommand) Run() error {
	body := map[string]any{}
	for name, value := range map[string]*string{"channel": c.Channel, "account": c.Account, "subject": c.Subject} {
		if value != nil {
			body[name] = *value // an empty name is sent too, and the service refuses it; without the field, the revocation would match more sessions
		}
	}
	if c.UID != nil {
		body["uid"] = *c.UID
	}
	if len(body) == 0 {
		return errors.New("nothing to revoke; give at least one of --channel, --uid, --account and --subject. Sessions must match all that are given")
	}
	if c.For != nil {
		if *c.For < time.Second || *c.For%time.Second != 0 {
			return fmt.Errorf("--for: want at least 1s, in whole seconds, such as 90s or 1h; have %v", *c.For)
		}
		body["for"] = *c.For / time.Second
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	var r revocationInfo
	err = c.show(http.MethodPost, "/v1/revocations", string(text), &r, r.print)
	return c.alsoDone(err, &r)
}

type revocationsCommand struct {
	List listRevocationsCommand `cmd:"" help:"List the revocations in force."`
	Show showRevocationCommand  `cmd:"" help:"Show a revocation, and which nodes have acted on it."`
	Lift liftRevocationCommand  `cmd:"" help:"Lift a revocation, so that its users may join again."`
}

// revocationInfo is the service's answer about a revocation. A time of 0 means unknown.
type revocationInfo struct {
	ID            string          `json:"id"`
	Channel       string          `json:"channel"`
	User          string          `json:"user"`
	Subject       string          `json:"subject"`
	At            session.UnixSec `json:"at"`
	Until         session.UnixSec `json:"until"`
	ClassicEndsAt session.UnixSec `json:"classicEndsAt"`

	// The fields below are missing in lists, and in the answer when a revocation is lifted.
	Ended        *int            `json:"ended"`
	AccessEndsAt session.UnixSec `json:"accessEndsAt"` // 0 if no session was ended
	Complete     bool            `json:"complete"`
	WaitingFor   []string        `json:"waitingFor"`
}

func (r *revocationInfo) matches() string {
	var parts []string
	for _, part := range [][2]string{{"channel", r.Channel}, {"user", r.User}, {"subject", r.Subject}} {
		if part[1] != "" {
			parts = append(parts, part[0]+":"+strconv.Quote(part[1]))
		}
	}
	return strings.Join(parts, " ")
}

func (r *revocationInfo) print() error {
	rows := [][2]string{
		{"revocation", r.ID},
		{"matches", r.matches()},
		{"since", moment(r.At, "-")},
		{"until", moment(r.Until, "-")},
	}
	if r.Ended != nil {
		complete := "yes: every live node has acted"
		if !r.Complete {
			complete = "no; ask again: refresher revocations show " + r.ID
		}
		if len(r.WaitingFor) > 0 {
			complete = "no: waiting for " + strings.Join(r.WaitingFor, ", ")
		}
		rows = append(rows, [][2]string{
			{"sessions ended", strconv.Itoa(*r.Ended)},
			{"their tokens end", moment(r.AccessEndsAt, "-")},
			{"complete", complete},
		}...)
	}
	return printRows(append(rows, [2]string{"classic tokens end", moment(r.ClassicEndsAt, "-")}))
}

// alsoDone prints the revocation that an error answer may contain, and returns err. While the store is unreachable, one
// node applies the revocation alone and answers 503, since no other node knows of it yet.
func (o *operator) alsoDone(err error, r *revocationInfo) error {
	refusal, ok := errors.AsType[*refusalError](err)
	if !ok || len(refusal.body.Done) == 0 {
		return err
	}
	if o.JSON {
		return errors.Join(printJSON(refusal.body.Done), err)
	}
	if err := understand(refusal.body.Done, r); err != nil {
		return err
	}
	return errors.Join(r.print(), err)
}

type listRevocationsCommand struct {
	operator `embed:""`
	Max      int `default:"1000" help:"Stop after this many; 0 lists all."`
}

// Run lists revocations, page by page.
func (c *listRevocationsCommand) Run() error {
	return c.printList(c.list("/v1/revocations", url.Values{}, "revocations"), c.Max, "REVOCATION\tMATCHES\tSINCE\tUNTIL",
		func(raw json.RawMessage) ([]string, error) {
			var r revocationInfo
			err := understand(raw, &r)
			return []string{r.ID, r.matches(), moment(r.At, "-"), moment(r.Until, "-")}, err
		})
}

type oneRevocation struct {
	operator   `embed:""`
	Revocation string `arg:"" help:"Id of the revocation."`
}

func (c *oneRevocation) path() string { return "/v1/revocations/" + url.PathEscape(c.Revocation) }

type showRevocationCommand struct {
	oneRevocation `embed:""`
}

// Run shows one revocation.
func (c *showRevocationCommand) Run() error {
	var r revocationInfo
	return c.show(http.MethodGet, c.path(), "", &r, r.print)
}

type liftRevocationCommand struct {
	oneRevocation `embed:""`
}

// Run lifts a revocation.
func (c *liftRevocationCommand) Run() error {
	var r revocationInfo
	report := func() error {
		fmt.Println("lifted; sessions that it ended stay ended")
		return r.print()
	}
	return c.alsoDone(c.show(http.MethodDelete, c.path(), "", &r, report), &r)
}
