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

// signer replaces the App Certificate of a service in this process, as an operator would: it writes the certificates to
// the file that the service reads, and sends a reload.
type signer struct {
	certificate string // the first certificate that is written
	folder      string // temporary folder with the file of certificates
	reloads     chan os.Signal
	signs       chan string // receives the fingerprint of each new certificate that signs
}

func newSigner(certificate string) *signer {
	return &signer{certificate: certificate, reloads: make(chan os.Signal, 1), signs: make(chan string, 1)}
}

func (s *signer) open() (err error) {
	if s.folder, err = os.MkdirTemp("", "refresher-demo-"); err != nil {
		return fmt.Errorf("make a folder for the certificate: %w", err)
	}
	if err := s.write([]string{s.certificate}); err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

func (s *signer) file() string { return filepath.Join(s.folder, "certificates") }

func (s *signer) close() error { return os.RemoveAll(s.folder) }

// write replaces the file of certificates in one step, so that the service never reads half of it.
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

// sign implements demo.Config.Sign. It must not be called concurrently.
func (s *signer) sign(ctx context.Context, certificates []string) (fingerprint string, err error) {
	select {
	case <-s.signs: // discard the fingerprint of an earlier change
	default:
	}
	if err := s.write(certificates); err != nil {
		return "", err
	}
	select {
	case s.reloads <- syscall.SIGHUP:
	default: // a reload is already requested
	}
	select {
	case fingerprint := <-s.signs:
		return fingerprint, nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the service to sign with another certificate: %w", ctx.Err())
	}
}

// changed tells the signer that the service signs with another certificate.
func (s *signer) changed(_, fingerprint string) {
	select {
	case s.signs <- fingerprint:
	default: // the channel is full only while no call of sign waits for a fingerprint
	}
}
