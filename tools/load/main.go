// Command load makes many calls to a service, and checks that each of them always has valid tokens; see go run
// ./tools/load --help and docs/operate/scaling.md. It exits with code 1 if a call lost its tokens,
// never had any, or was refused.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"refresher/internal/access/credential"
	"refresher/internal/session"
	"refresher/tools/load/generator"
)

type command struct {
	URL           []string      `name:"url" env:"REFRESHER_URL" default:"ws://127.0.0.1:8080/v1/ws" help:"WebSocket URLs of the service's nodes."`
	Remote        bool          `help:"Allow a target on another machine. It must be yours, and ready for the load."`
	Calls         int           `default:"1000" help:"Number of calls, up to 200000."`
	JoinRate      float64       `default:"100" help:"Number of calls that begin each second."`
	Duration      time.Duration `default:"1m" help:"How long the run lasts from the first join, up to 24h."`
	TTL           time.Duration `name:"ttl" help:"Token lifetime to request. Default: the service's --token-ttl."`
	Services      []string      `default:"rtc,rtm" help:"Services for which each call has tokens: rtc, rtm, chat."`
	Channels      string        `default:"load-*" help:"Names of the channels; * is replaced by the number of the call."`
	Credential    string        `env:"REFRESHER_CREDENTIAL" placeholder:"JWT" help:"Credential of all calls, if the service requires one. The service's --subject-rate applies to all of them together. Give it by the environment, since process lists show flags."`
	JWTSecret     string        `name:"jwt-secret" env:"REFRESHER_JWT_SECRET" placeholder:"SECRET" help:"Secret that signs credentials, one for every fifty calls, as token grant does."`
	JWTSecretFile []byte        `name:"jwt-secret-file" type:"filecontent" env:"REFRESHER_JWT_SECRET_FILE" placeholder:"FILE" help:"File with --jwt-secret."`
	AckDelay      time.Duration `help:"How long a call takes to confirm tokens, like a slow SDK."`
	DropRate      float64       `help:"Number of connections that are cut each second; their calls reconnect."`
	JSON          bool          `name:"json" help:"Print a line of JSON every second, and one at the end."`
}

// callsPerSubject is how many calls share a credential. With more calls, the service's --subject-rate would refuse
// some.
const callsPerSubject = 50

func main() {
	var c command
	parsed := kong.Parse(&c, kong.Name("load"), kong.Description("Makes many calls at a service, and watches that none loses its tokens."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.FatalIfErrorf(c.run(ctx, os.Stdout))
}

// run makes the calls, until they have ended or ctx ends. It returns the verdict.
func (c *command) run(ctx context.Context, out io.Writer) error {
	if c.JWTSecret != "" && c.JWTSecretFile != nil {
		return errors.New("--jwt-secret and --jwt-secret-file are both set (by a flag or a variable); want one")
	}
	c.JWTSecret = strings.TrimSpace(c.JWTSecret + string(c.JWTSecretFile))
	g, err := generator.New(generator.Config{
		URLs: c.URL, Remote: c.Remote, Calls: c.Calls, JoinRate: c.JoinRate, Duration: c.Duration, TTL: c.TTL,
		Services: c.Services, Channels: c.Channels, Credential: c.credentials(),
		AckDelay: c.AckDelay, DropRate: c.DropRate, Tick: c.ticks(out),
	})
	if err != nil {
		return err
	}
	r := g.Run(ctx)
	c.print(out, r)
	return verdict(r)
}

// verdict returns an error if a call lost its tokens or never had any, if the number of a call's newest tokens (seq)
// fell, or if the service refused a call.
func verdict(r generator.Report) error {
	switch {
	case r.RanOut > 0:
		return fmt.Errorf("the tokens of calls expired %d times, for %.1f call-seconds", r.RanOut, r.LostSeconds)
	case r.SeqFell > 0:
		return fmt.Errorf("seq fell %d times", r.SeqFell)
	case r.Refused > 0:
		return fmt.Errorf("the service ended or refused %d calls: %s", r.Refused, errorsByName(r))
	case r.BytesIn == 0 && r.Dial != "":
		return errors.New("no connection was ever made: " + r.Dial)
	case r.Joins == 0:
		return errors.New("no call was ever joined: " + errorsByName(r))
	case r.Without > 0:
		return fmt.Errorf("%d of %d calls never had tokens: %s", r.Without, r.Calls, errorsByName(r))
	}
	return nil
}

// credentials returns a function that returns the credential of each call: the credential of the flags, or one that is
// signed with the secret of the flags. The function is nil if the flags have neither.
func (c *command) credentials() func(n int) (string, error) {
	switch {
	case c.Credential != "":
		return func(int) (string, error) { return strings.TrimSpace(c.Credential), nil }
	case c.JWTSecret == "":
		return nil
	}
	whatever := []string{"*"}
	return func(n int) (string, error) {
		return credential.Grant(credential.GrantConfig{Secret: c.JWTSecret, Caller: session.Caller{
			Subject: fmt.Sprintf("load-%d", n/callsPerSubject),
			Grant:   session.Grant{Channels: whatever, UIDs: whatever, RTMUsers: whatever, Chat: whatever, Roles: []session.Role{session.Publisher}},
		}})
	}
}

// ticks returns a function that prints a line every second.
func (c *command) ticks(out io.Writer) func(generator.Report) {
	var before generator.Report
	return func(r generator.Report) {
		if c.JSON {
			printReport(out, r, false)
			return
		}
		span := r.Seconds - before.Seconds
		fmt.Fprintf(out, "%6.0fs  calls %d, holding tokens %d  joins/s %.0f  resumes/s %.0f  renewals/s %.0f  margin p1 %.1fs p50 %.1fs  lag p99 %.2fs%s\n",
			r.Seconds, r.Calls, r.Holding,
			float64(r.Joins-before.Joins)/span, float64(r.Resumes-before.Resumes)/span, float64(r.Renewals-before.Renewals)/span,
			r.Margin.P1, r.Margin.P50, r.Lag.P99, trouble(r))
		before = r
	}
}

// trouble returns what went wrong, for the end of a line.
func trouble(r generator.Report) string {
	var parts []string
	if r.RanOut > 0 {
		parts = append(parts, fmt.Sprintf("LOST TOKENS %d times, %.1f call-seconds", r.RanOut, r.LostSeconds))
	}
	if r.Without > 0 {
		parts = append(parts, fmt.Sprintf("%d NEVER HAD TOKENS", r.Without))
	}
	if len(r.Errors) > 0 {
		parts = append(parts, "errors: "+errorsByName(r))
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + strings.Join(parts, "; ")
}

func errorsByName(r generator.Report) string { return byName(r.Errors) }

func byName(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

func printReport(out io.Writer, r generator.Report, end bool) {
	_ = json.NewEncoder(out).Encode(struct {
		End bool `json:"end"`
		generator.Report
	}{end, r})
}

func (c *command) print(out io.Writer, r generator.Report) {
	if c.JSON {
		printReport(out, r, true)
		return
	}
	spread := func(name string, s generator.Spread) {
		if s.Count > 0 {
			fmt.Fprintf(out, "%-22s least %.2f  p1 %.2f  p50 %.2f  p99 %.2f  most %.2f  (%d)\n", name, s.Least, s.P1, s.P50, s.P99, s.Most, s.Count)
		}
	}
	fmt.Fprintf(out, "\nin %.0f s: %d calls, %d joins, %d resumes, %d renewals, %d repeated pushes, %d heartbeats\n",
		r.Seconds, r.Calls, r.Joins, r.Resumes, r.Renewals, r.Repeats, r.Pings)
	fmt.Fprintf(out, "connections: %d dropped by --drop-rate, %d lost, %d moved by the service\n", r.Drops, r.Lost, r.Moves)
	spread("life left at renewal", r.Margin)
	spread("life left on return", r.Back)
	spread("lag of pushes", r.Lag)
	spread("away", r.Away)
	fmt.Fprintf(out, "bytes: %d in, %d out\n", r.BytesIn, r.BytesOut)
	if len(r.Reconnects) > 0 {
		fmt.Fprintf(out, "the service asked calls to connect again: %s\n", byName(r.Reconnects))
	}
	if len(r.Errors) > 0 {
		fmt.Fprintf(out, "errors: %s\n", errorsByName(r))
	}
	fmt.Fprintf(out, "tokens ran out %d times, %.1f call-seconds lost; %d calls never had any; seq fell %d times\n", r.RanOut, r.LostSeconds, r.Without, r.SeqFell)
}
