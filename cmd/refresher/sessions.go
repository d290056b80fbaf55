package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

type sessionsCommand struct {
	List  listCommand  `cmd:"" help:"List the sessions that are open anywhere in the cluster."`
	Show  showCommand  `cmd:"" help:"Show one."`
	Renew renewCommand `cmd:"" help:"Push new tokens to its client now."`
	End   endCommand   `cmd:"" help:"End it: its client is told, and cannot come back to it."`

	Certificates certificatesCommand `cmd:"" help:"Show how far the rotation of the App Certificate is."`
}

// sessionInfo is what the service says of a session. Times are Unix seconds.
type sessionInfo struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	State   string `json:"state"`
	Node    string `json:"node"`
	protocol.Identity
	Seq           uint64          `json:"seq"`
	ExpiresAt     session.UnixSec `json:"expiresAt"`
	Confirmed     bool            `json:"confirmed"`
	LastAckAt     session.UnixSec `json:"lastAckAt"`
	NextRenewalAt session.UnixSec `json:"nextRenewalAt"`
	Until         session.UnixSec `json:"until"`
}

type listCommand struct {
	operator `embed:""`
	Channel  *string `help:"Only those in this RTC channel."`
	UID      *uint32 `help:"Only those of this RTC uid, or of the RTM or Chat user of that name."`
	Account  *string `help:"Only those of this user."`
	Subject  *string `help:"Only those that this subject joined."`
	Max      int     `default:"1000" help:"Stop after so many; 0 lists all."`
}

// Run lists sessions, page by page.
func (c *listCommand) Run() error {
	query := url.Values{"limit": {"200"}}
	// A name that is given, but empty, is the service's to refuse.
	for name, value := range map[string]*string{"channel": c.Channel, "account": c.Account, "subject": c.Subject} {
		if value != nil {
			query.Set(name, *value)
		}
	}
	if c.UID != nil {
		query.Set("uid", strconv.FormatUint(uint64(*c.UID), 10))
	}
	table := table()
	if !c.JSON {
		fmt.Fprintln(table, "SESSION\tSTATE\tWHO\tSUBJECT\tNODE\tEXPIRES\tNEXT RENEWAL")
	}
	for listed := 0; ; {
		var page struct {
			Sessions []json.RawMessage
			Cursor   string
		}
		if err := c.ask(http.MethodGet, "/v1/sessions?"+query.Encode(), "", &page); err != nil {
			return errors.Join(table.Flush(), err)
		}
		for _, raw := range page.Sessions {
			if c.Max > 0 && listed == c.Max {
				fmt.Fprintf(os.Stderr, "stopped after %d; see --max\n", listed)
				return table.Flush()
			}
			listed++
			if c.JSON { // one a line, for other programs
				fmt.Println(string(raw))
				continue
			}
			var s sessionInfo
			if err := understand(raw, &s); err != nil {
				return err
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.State, s.who(), orDash(s.Subject), s.Node, in(s.ExpiresAt), in(s.NextRenewalAt))
		}
		if page.Cursor == "" {
			return table.Flush()
		}
		query.Set("cursor", page.Cursor)
	}
}

// who says what the session's tokens are for, in one word for each service.
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

// in says how far a moment is ahead.
func in(at session.UnixSec) string {
	if at == 0 {
		return "-"
	}
	return time.Until(at.Time()).Round(time.Second).String()
}

// oneSession is what the commands have that are for a single session.
type oneSession struct {
	operator `embed:""`
	Session  string `arg:"" help:"Its id."`
}

func (c *oneSession) path() string { return "/v1/sessions/" + url.PathEscape(c.Session) }

type showCommand struct {
	oneSession `embed:""`
}

// Run shows one session.
func (c *showCommand) Run() error {
	var s sessionInfo
	return c.show(http.MethodGet, c.path(), "", &s, func() error {
		table := table()
		for _, row := range [][2]string{
			{"session", s.ID},
			{"state", s.State},
			{"who", s.who()},
			{"subject", orDash(s.Subject)},
			{"node", s.Node},
			{"seq", strconv.FormatUint(s.Seq, 10)},
			{"confirmed", strconv.FormatBool(s.Confirmed)},
			{"last ack", moment(s.LastAckAt, "-")},
			{"next renewal", moment(s.NextRenewalAt, "-")},
			{"tokens expire", moment(s.ExpiresAt, "-")},
			{"renewed until", moment(s.Until, "-")},
		} {
			fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
		}
		return table.Flush()
	})
}

// changeMade is what the service says of a change that it was asked for.
type changeMade struct {
	Pushed       bool            `json:"pushed"`
	Node         string          `json:"node"`
	Note         string          `json:"note"` // what is not done yet
	AccessEndsAt session.UnixSec `json:"accessEndsAt"`
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

// Run has new tokens pushed.
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
		return d.print("ended; Agora lets its newest tokens in until " + moment(d.AccessEndsAt, tokensEnd))
	})
}

type certificatesCommand struct {
	operator `embed:""`
}

// certificateInfo is what the service says of an App Certificate. Times are Unix seconds.
type certificateInfo struct {
	Fingerprint     string          `json:"fingerprint"`
	SignedBy        []string        `json:"signedBy"`
	Sessions        int             `json:"sessions"`
	Detached        int             `json:"detached"`
	LastTokenEndsAt session.UnixSec `json:"lastTokenEndsAt"`
	MayBeDeleted    bool            `json:"mayBeDeleted"`
	Why             string          `json:"why"`
}

// Run prints, for each App Certificate, how many sessions hold tokens that it signed, and
// whether it may be deleted.
func (c *certificatesCommand) Run() error {
	var r struct {
		Certificates []certificateInfo `json:"certificates"`
		Partial      bool              `json:"partial"`
	}
	return c.show(http.MethodGet, "/v1/certificates", "", &r, func() error {
		table := table()
		fmt.Fprintln(table, "CERTIFICATE\tNODES\tSESSIONS\tDETACHED\tLAST TOKEN ENDS\tMAY BE DELETED")
		for _, one := range r.Certificates {
			verdict := "no: " + one.Why
			if one.MayBeDeleted {
				verdict = "yes: " + one.Why
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\n", one.Fingerprint, len(one.SignedBy), one.Sessions, one.Detached, in(one.LastTokenEndsAt), verdict)
		}
		if r.Partial {
			defer fmt.Fprintln(os.Stderr, "there was no time to count all sessions")
		}
		return table.Flush()
	})
}
