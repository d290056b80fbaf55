// Command refresher keeps the tokens of long Agora calls fresh.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli defines the command line. A flag overrides an environment variable, which overrides a line of a .env
// file in the working directory.
type cli struct {
	Serve    serveCommand    `cmd:"" help:"Run the service."`
	Demo     demoCommand     `cmd:"" help:"Run the service on this machine with the demo page, short tokens and a generated App Certificate."`
	Call     callCommand     `cmd:"" help:"Keep a call's tokens fresh, and show each renewal."`
	Token    tokenCommand    `cmd:"" help:"Make or explain a token."`
	Sessions sessionsCommand `cmd:"" help:"See and change the sessions of a running service."`
	Revoke   revokeCommand   `cmd:"" help:"End the sessions of a user, a channel or a subject, and refuse their return."`

	Revocations  revocationsCommand  `cmd:"" help:"See and lift the revocations of a running service."`
	Certificates certificatesCommand `cmd:"" help:"Show the progress of an App Certificate rotation."`

	Health  healthCommand  `cmd:"" help:"Check the service on this machine, for probes."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	args := os.Args[1:]
	var c cli
	parser := kong.Must(&c, append(valueMappers(),
		kong.Name("refresher"),
		kong.Description("Keeps long Agora calls alive: pushes renewed RTC, RTM and Chat tokens before the old ones expire, until the client confirms."),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)...)
	from := &sources{root: parser.Model.Node, args: args}
	var err error
	if from.envFile, err = loadEnv(parser.Model.Node, args); err != nil {
		if !logFatal(args, err) {
			fmt.Fprintln(os.Stderr, "refresher:", err)
		}
		os.Exit(2)
	}
	parsed, err := parser.Parse(args)
	if err == nil {
		err = parsed.Run(from)
	}
	err = from.named(err)
	if err != nil && logFatal(args, err) {
		code := 1
		if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
			code = wrong.ExitCode()
		}
		os.Exit(code)
	}
	parser.FatalIfErrorf(err)
}

// logFatal logs the error that ended a service, if the log of the service is JSON: programs that read such a log skip
// plain text. Otherwise it only returns false. Parsing the arguments may have failed, so logFatal searches them for the
// log format itself.
func logFatal(args []string, err error) bool {
	if len(args) == 0 || args[0] != "serve" {
		return false
	}
	format := os.Getenv("REFRESHER_LOG_FORMAT")
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--log-format="); ok {
			format = value
		} else if arg == "--log-format" && i+1 < len(args) {
			format = args[i+1]
		}
	}
	if asText(format) {
		return false
	}
	log := newLog("json", slog.LevelInfo)
	defer log.Close()
	log.Logger.Error("fatal error, the service exits", "error", err)
	return true
}

// loadEnv reads .env if the file exists and the command has settings that it could contain. It sets only variables that
// the environment does not have, and returns their names. First it unsets our empty variables, since an empty variable
// would hide a default, an alternative name or a line of .env. Compose sets a variable to an empty text if it has no
// value for it.
func loadEnv(commands *kong.Node, args []string) (names []string, err error) {
	if err := dropEmpty(); err != nil {
		return nil, err
	}
	if !readsEnv(commands, args) {
		return nil, nil
	}
	variables, err := readEnvFile(".env")
	if err != nil && args[0] == "health" { // a failed probe would restart a healthy service
		fmt.Fprintf(os.Stderr, "refresher: %v; going on without it\n", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ours := os.Environ()
	for _, v := range variables {
		if slices.ContainsFunc(ours, func(s string) bool { return strings.HasPrefix(s, v.name+"=") }) {
			continue
		}
		if err := os.Setenv(v.name, v.value); err != nil {
			return nil, fmt.Errorf(".env: set %s: %w", v.name, err)
		}
		names = append(names, v.name)
	}
	return names, dropEmpty()
}

// readsEnv reports whether the command in args has settings that the environment can set. With --help it needs none.
func readsEnv(commands *kong.Node, args []string) bool {
	if len(args) == 0 || slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		return false
	}
	for _, command := range commands.Children {
		if command.Name == args[0] {
			return len(variablesOf(command)) > 0
		}
	}
	return false
}

// dropEmpty unsets the empty variables for which isOurs is true.
func dropEmpty() error {
	for _, setting := range os.Environ() {
		if name, value, _ := strings.Cut(setting, "="); value == "" && isOurs(name) {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("unset %s: %w", name, err)
			}
		}
	}
	return nil
}

// isOurs reports whether an environment variable is a setting of this program or of OpenTelemetry, whose
// specification treats an empty variable as unset.
func isOurs(name string) bool {
	switch name {
	case "PORT", "SERVER_PORT", "REDIS_URL", "CORS_ALLOW_ORIGIN", "AGORA_APP_ID", "APP_ID", "AGORA_APP_CERTIFICATE", "APP_CERTIFICATE":
		return true
	}
	return strings.HasPrefix(name, "REFRESHER_") || strings.HasPrefix(name, "OTEL_")
}

// signals has two contexts. The first SIGINT or SIGTERM cancels `first`: the process drains its sessions and exits. The
// second signal cancels `second`: the process exits at once.
type signals struct {
	first, second context.Context
	release       func()
}

func onSignals() *signals {
	first, stopFirst := context.WithCancel(context.Background())
	second, stopSecond := context.WithCancel(context.Background())
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-caught
		stopFirst()
		<-caught
		stopSecond()
		signal.Stop(caught) // the third signal kills the process, as it does by default
	}()
	return &signals{first: first, second: second, release: func() {
		signal.Stop(caught)
		stopFirst()
		stopSecond()
	}}
}
