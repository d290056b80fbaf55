// Command refresher keeps the tokens of long Agora calls fresh.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// cli is the command line. Settings come from flags, then from the
// environment, then from a .env file in the working directory.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the service."`
	Demo    demoCommand    `cmd:"" help:"Run it on this machine with throw-away credentials, short tokens and the demo page."`
	Call    callCommand    `cmd:"" help:"Keep a call's tokens fresh, and show each renewal."`
	Token   tokenCommand   `cmd:"" help:"Make or explain a token."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	if err := godotenv.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "refresher: .env:", err)
		os.Exit(2)
	}
	var c cli
	parsed := kong.Parse(&c,
		kong.Name("refresher"),
		kong.Description("Keeps long Agora calls alive: pushes renewed RTC, RTM and Chat tokens before the old ones expire, until the client confirms."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	stop := onSignals()
	defer stop.release()
	parsed.BindTo(stop.first, (*context.Context)(nil))
	parsed.FatalIfErrorf(parsed.Run(stop))
}

// signals are the interrupts that the process has had: the first asks it to
// stop in good order, the second to stop at once.
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
	}()
	return &signals{first: first, second: second, release: func() {
		signal.Stop(caught)
		stopFirst()
		stopSecond()
	}}
}
