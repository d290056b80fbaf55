// Command edge runs the stand-in for Agora's edge as a process. It serves the line protocol of package edge, and prints
// a line for each event; the first line has the address. On SIGINT or SIGTERM it prints the record as a line of JSON,
// and exits with code 0. The exit code is 2 for wrong flags, and 1 if it cannot listen or write.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"refresher/web/demo/edge"
)

func main() {
	// The signals must not cancel a context: serve has to read the record while the calls still run.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Getenv, signals, os.Stdout, os.Stderr))
}

func run(args []string, getenv func(string) string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("edge", flag.ContinueOnError)
	flags.SetOutput(stderr)
	address := flags.String("listen", "127.0.0.1:7000", "`address` to listen on; port 0 picks a free one")
	appID := flags.String("app-id", "", "Agora App ID (default: AGORA_APP_ID)")
	certificate := flags.String("app-certificate", "", "Agora App Certificate (default: AGORA_APP_CERTIFICATE)")
	secondary := flags.String("secondary-certificate", "", "a second App Certificate that is valid too")
	warnBefore := flags.Duration("warn-before", 30*time.Second, "how long before the end a client is warned")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "edge: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	// The values of the environment are not the flags' defaults, since -help would print them, and they may be secret.
	if *appID == "" {
		*appID = getenv("AGORA_APP_ID")
	}
	if *certificate == "" {
		*certificate = getenv("AGORA_APP_CERTIFICATE")
	}
	log := slog.New(slog.NewTextHandler(stdout, nil))
	judge, err := edge.New(edge.Config{
		AppID:                *appID,
		Certificate:          *certificate,
		SecondaryCertificate: *secondary,
		WarnBefore:           *warnBefore,
		Logger:               log,
	})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := serve(judge, *address, log, signals, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func serve(judge *edge.Edge, address string, log *slog.Logger, signals <-chan os.Signal, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("edge: listen: %w", err)
	}
	log.Info("listening", "address", listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- judge.Serve(ctx, listener) }()
	select {
	case err := <-served:
		return err
	case <-signals:
	}
	// The record is read before Close, which ends the calls. It is printed after Close, since no event follows then.
	record := judge.Record()
	cancel()
	err = <-served
	judge.Close()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(record); err != nil {
		return fmt.Errorf("edge: print the record: %w", err)
	}
	return nil
}
