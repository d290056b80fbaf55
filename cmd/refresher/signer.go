package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// signer rotates the App Certificate of the service in this process as an operator would: it
// writes the certificates to the file that the service reads, and signals a reload.
type signer struct {
	certificate string // the first one
	folder      string // private, and gone after close
	reloads     chan os.Signal
	signs       chan string // the fingerprint of the certificate that signs since the last change
}

func newSigner(certificate string) *signer {
	return &signer{certificate: certificate, reloads: make(chan os.Signal, 1), signs: make(chan string, 1)}
}

// open makes the file.
func (s *signer) open() (err error) {
	if s.folder, err = os.MkdirTemp("", "refresher-demo-"); err != nil {
		return fmt.Errorf("make a folder for the certificate: %w", err)
	}
	if err := s.write([]string{s.certificate}); err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

// file returns the path of the file that the service reads.
func (s *signer) file() string { return filepath.Join(s.folder, "certificates") }

// close removes the file.
func (s *signer) close() error { return os.RemoveAll(s.folder) }

// write replaces the file in one step: half of it is never read.
func (s *signer) write(certificates []string) error {
	next := s.file() + ".next"
	err := os.WriteFile(next, []byte(strings.Join(certificates, "\n")+"\n"), 0o600)
	if err == nil {
		err = os.Rename(next, s.file())
	}
	if err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	return nil
}

// sign implements demo.Config.Sign. It is called once at a time.
func (s *signer) sign(ctx context.Context, certificates []string) (fingerprint string, err error) {
	select {
	case <-s.signs: // of a change that was not made here
	default:
	}
	if err := s.write(certificates); err != nil {
		return "", err
	}
	select {
	case s.reloads <- syscall.SIGHUP:
	default: // the service is about to look
	}
	select {
	case fingerprint := <-s.signs:
		return fingerprint, nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the service to sign with another certificate: %w", ctx.Err())
	}
}

// changed is called by the service when it signs with another certificate.
func (s *signer) changed(_, fingerprint string) {
	select {
	case s.signs <- fingerprint:
	default: // the fingerprint before was not read; sign drops it
	}
}
