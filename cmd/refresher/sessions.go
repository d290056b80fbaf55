package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

type sessionsCommand struct {
	List  listCommand  `cmd:"" help:"List the sessions that are open anywhere in the cluster."`
	Show  showCommand  `cmd:"" help:"Show a session."`
	Renew renewCommand `cmd:"" help:"Push new tokens to the client of a session now."`
	End   endCommand   `cmd:"" help:"End a session: its client is notified, and cannot resume it."`
}

type sessionInfo struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	State   string `json:"state"`
	Node    string `json:"node"`
	protocol.Identity
	Seq           uint64          `json:"seq"`
	ExpiresAt     session.UnixSec `json:"expiresAt"`
	Confirmed     *bool           `json:"confirmed"` // nil if unknown
	LastAckAt     session.UnixSec `json:"lastAckAt"`
	NextRenewalAt session.UnixSec `json:"nextRenewalAt"`
	Until         session.UnixSec `json:"until"`
}

type listCommand struct {
	operator `embed:""`
	Channel  *string `help:"Only sessions in this RTC channel."`
	UID      *uint32 `help:"Only sessions of this RTC uid, or of the RTM or Chat user of the same digits."`
	Account  *string `help:"Only sessions of this RTC account, or RTM or Chat user."`
	Subject  *string `help:"Only sessions that this subject (sub of the credential) joined."`
	Max      int     `default:"1000" help:"Stop after this many; 0 lists all."`
}

// Run lists sessions, page by page.
func (c *listCommand) Run() error {
	query := url.Values{"limit": {"200"}}
	// A flag with an empty value is sent too, so that the service refuses it. Without the flag's filter, the list would have
	// all sessions.
	for name, value := range map[string]*string{"channel": c.Channel, "account": c.Account, "subject": c.Subject} {
		if value != nil {
			query.Set(name, *value)
		}
	}
	if c.UID != nil {
		query.Set("uid", strconv.FormatUint(uint64(*c.UID), 10))
	}
	return c.printList(c.list("/v1/sessions", query, "sessions"), c.Max, "SESSION\tSTATE\tWHO\tSUBJECT\tNODE\tEXPIRES\tNEXT RENEWAL",
		func(raw json.RawMessage) ([]string, error) {
			var s sessionInfo
			err := understand(raw, &s)
			return []string{s.ID, s.State, s.who(), orDash(s.Subject), s.Node, in(s.ExpiresAt), in(s.NextRenewalAt)}, err
		})
}

// who returns the session's identity, with one word for each Agora service.
func (s *sessionInfo) who() string {
	var parts []string
	if r := s.RTC; r != nil {
		user := ""
		if r.UID != nil {
			user = strconv.FormatUint(uint64(*r.UID), 10)
		} else if r.Account != nil {
			user = *r.Account
		}
		parts = append(parts, fmt.Sprintf("rtc:%q/%s(%s)", r.Channel, user, r.Role))
	}
	if s.RTM != nil {
		parts = append(parts, fmt.Sprintf("rtm:%q", s.RTM.UserID))
	}
	if s.Chat != nil {
		parts = append(parts, fmt.Sprintf("chat:%q", s.Chat.UserID))
	}
	return strings.Join(parts, " ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return strconv.Quote(s)
}

// in returns the time from now until `at`; a dash if `at` is unknown.
func in(at session.UnixSec) string {
	if at == 0 {
		return "-"
	}
	return time.Until(at.Time()).Round(time.Second).String()
}

type oneSession struct {
	operator `embed:""`
	Session  string `arg:"" help:"Id of the session."`
}

func (c *oneSession) path() string { return "/v1/sessions/" + url.PathEscape(c.Session) }

type showCommand struct {
	oneSession `embed:""`
}

// Run shows one session.
func (c *showCommand) Run() error {
	var s sessionInfo
	return c.show(http.MethodGet, c.path(), "", &s, func() error {
		seq, confirmed := "-", "-"
		if s.Seq > 0 {
			seq = strconv.FormatUint(s.Seq, 10)
		}
		if s.Confirmed != nil {
			confirmed = strconv.FormatBool(*s.Confirmed)
		}
		return printRows([][2]string{
			{"session", s.ID},
			{"state", s.State},
			{"who", s.who()},
			{"subject", orDash(s.Subject)},
			{"node", s.Node},
			{"seq", seq},
			{"confirmed", confirmed},
			{"last ack", moment(s.LastAckAt, "-")},
			{"next renewal", moment(s.NextRenewalAt, "-")},
			{"tokens expire", moment(s.ExpiresAt, "-")},
			{"renewed until", moment(s.Until, "-")},
		})
	})
}

type changeMade struct {
	Pushed       bool            `json:"pushed"`
	Node         string          `json:"node"`
	Note         string          `json:"note"`         // remark for the operator, for example that the session's node has not acted yet
	AccessEndsAt session.UnixSec `json:"accessEndsAt"` // 0 if unknown
}

func (d *changeMade) print(done string) error {
	fmt.Println(done)
	if d.Note != "" {
		fmt.Println("note:", d.Note)
	}
	return nil
}

type renewCommand struct {
	oneSession `embed:""`
}

// Run makes the service push new tokens to the session's client.
func (c *renewCommand) Run() error {
	var d changeMade
	return c.show(http.MethodPatch, c.path(), `{"renew":true}`, &d, func() error {
		if d.Pushed {
			return d.print("new tokens are on their way to the client, from node " + d.Node)
		}
		return d.print("nothing was pushed yet")
	})
}

type endCommand struct {
	oneSession `embed:""`
}

// Run ends a session.
func (c *endCommand) Run() error {
	var d changeMade
	return c.show(http.MethodDelete, c.path(), "", &d, func() error {
		if d.AccessEndsAt == 0 {
			return d.print("ended; it is not known how long Agora lets its newest tokens in")
		}
		return d.print("ended; Agora lets its newest tokens in until " + moment(d.AccessEndsAt, "-"))
	})
}
