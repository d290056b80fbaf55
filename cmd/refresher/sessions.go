package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"refresher/internal/session"
)

type sessionsCommand struct {
	List  listCommand  `cmd:"" help:"List the sessions that are open anywhere in the cluster."`
	Show  showCommand  `cmd:"" help:"Show one."`
	Renew renewCommand `cmd:"" help:"Push new tokens to its client now."`
	End   endCommand   `cmd:"" help:"End it: its client is told, and cannot come back to it."`

	Certificates certificatesCommand `cmd:"" help:"Show how far the rotation of the App Certificate is."`
}

// operator talks to a service as one of its operators.
type operator struct {
	URL        string `env:"REFRESHER_API_URL" default:"http://127.0.0.1:8080" help:"The service."`
	Credential string `env:"REFRESHER_CREDENTIAL" placeholder:"JWT" help:"Credential with the scope admin. Better given by environment: flags show in process lists."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// operatorTimeout bounds one request, in all.
const operatorTimeout = 30 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// sessionInfo is what the service says of a session. Times are Unix seconds.
type sessionInfo struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	State   string `json:"state"`
	Node    string `json:"node"`
	RTC     *struct {
		Channel string  `json:"channel"`
		UID     *uint32 `json:"uid"`
		Account string  `json:"account"`
		Role    string  `json:"role"`
	} `json:"rtc"`
	RTM           *struct{ UserID string } `json:"rtm"`
	Chat          *struct{ UserID string } `json:"chat"`
	Seq           uint64                   `json:"seq"`
	ExpiresAt     session.UnixSec          `json:"expiresAt"`
	Confirmed     bool                     `json:"confirmed"`
	LastAckAt     session.UnixSec          `json:"lastAckAt"`
	NextRenewalAt session.UnixSec          `json:"nextRenewalAt"`
	Until         session.UnixSec          `json:"until"`
}

// ask makes a request, and reads its answer into a value.
func (o *operator) ask(method, path string, body, into any) error {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return errors.New("--url: want http://host:port or https://host")
	}
	if err := resolveSecrets(flagged("--credential", &o.Credential, "")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), operatorTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base.String(), "/")+path, content)
	if err != nil {
		return errors.New("--url: want http://host:port or https://host")
	}
	if o.Credential != "" {
		r.Header.Set("Authorization", "Bearer "+o.Credential)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		var problem struct{ Error string }
		if json.Unmarshal(text, &problem) != nil || problem.Error == "" {
			return fmt.Errorf("the service answers %s", answer.Status)
		}
		return fmt.Errorf("the service answers %s: %s", answer.Status, problem.Error)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the service's answer makes no sense: %w", err)
	}
	return nil
}

// show makes a request and prints its answer as JSON, if that is wanted; if not, it reads
// the answer into a value and has it printed.
func (o *operator) show(method, path string, body, into any, report func() error) error {
	var raw json.RawMessage
	if err := o.ask(method, path, body, &raw); err != nil {
		return err
	}
	if o.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the service's answer makes no sense: %w", err)
	}
	return report()
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
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(table, "SESSION\tSTATE\tWHO\tSUBJECT\tNODE\tEXPIRES\tNEXT RENEWAL")
	}
	listed := 0
	for {
		var page struct {
			Sessions []json.RawMessage
			Cursor   string
		}
		if err := c.ask(http.MethodGet, "/v1/sessions?"+query.Encode(), nil, &page); err != nil {
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
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("the service's answer makes no sense: %w", err)
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
		user := r.Account
		if r.UID != nil {
			user = strconv.FormatUint(uint64(*r.UID), 10)
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

type showCommand struct {
	operator `embed:""`
	Session  string `arg:"" help:"Its id."`
}

// Run shows one session.
func (c *showCommand) Run() error {
	var s sessionInfo
	return c.show(http.MethodGet, "/v1/sessions/"+url.PathEscape(c.Session), nil, &s, s.print)
}

func (s *sessionInfo) print() error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"session", s.ID},
		{"state", s.State},
		{"who", s.who()},
		{"subject", orDash(s.Subject)},
		{"node", s.Node},
		{"seq", strconv.FormatUint(s.Seq, 10)},
		{"confirmed", strconv.FormatBool(s.Confirmed)},
		{"last ack", moment(s.LastAckAt)},
		{"next renewal", moment(s.NextRenewalAt)},
		{"tokens expire", moment(s.ExpiresAt)},
		{"renewed until", moment(s.Until)},
	} {
		if strings.HasPrefix(row[1], "the token's end") { // how moment says 0
			row[1] = "-"
		}
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// wishDone is what the service says of a change that it was asked for.
type wishDone struct {
	Pushed       bool            `json:"pushed"`
	Node         string          `json:"node"`
	Note         string          `json:"note"`
	AccessEndsAt session.UnixSec `json:"accessEndsAt"`
}

// print prints what was done, and what else there is to say of it.
func (d *wishDone) print(done string) error {
	fmt.Println(done)
	if d.Note != "" {
		fmt.Println("note:", d.Note)
	}
	return nil
}

type renewCommand struct {
	operator `embed:""`
	Session  string `arg:"" help:"Its id."`
}

// Run has new tokens pushed.
func (c *renewCommand) Run() error {
	var d wishDone
	return c.show(http.MethodPatch, "/v1/sessions/"+url.PathEscape(c.Session), map[string]bool{"renew": true}, &d, func() error {
		if d.Pushed {
			return d.print("new tokens are on their way to the client, from node " + d.Node)
		}
		return d.print("nothing was pushed yet")
	})
}

type endCommand struct {
	operator `embed:""`
	Session  string `arg:"" help:"Its id."`
}

// Run ends a session.
func (c *endCommand) Run() error {
	var d wishDone
	return c.show(http.MethodDelete, "/v1/sessions/"+url.PathEscape(c.Session), nil, &d, func() error {
		return d.print("ended; Agora lets its newest tokens in until " + moment(d.AccessEndsAt))
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
	var r certificatesReport
	return c.show(http.MethodGet, "/v1/certificates", nil, &r, r.print)
}

type certificatesReport struct {
	Certificates []certificateInfo `json:"certificates"`
	Partial      bool              `json:"partial"`
}

func (r *certificatesReport) print() error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CERTIFICATE\tNODES\tSESSIONS\tDETACHED\tLAST TOKEN ENDS\tMAY BE DELETED")
	for _, one := range r.Certificates {
		verdict := "no: " + one.Why
		if one.MayBeDeleted {
			verdict = "yes: " + one.Why
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\n", one.Fingerprint, len(one.SignedBy), one.Sessions, one.Detached, in(one.LastTokenEndsAt), verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Partial {
		fmt.Fprintln(os.Stderr, "there was no time to count all sessions")
	}
	return nil
}
