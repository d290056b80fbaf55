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

// signer replaces the App Certificate of the service in this process as an operator would: it writes the
// certificates to the file that the service reads, and signals a reload.
type signer struct {
	certificate string // the certificate that is written first
	folder      string // private folder of the file; removed by close
	reloads     chan os.Signal
	signs       chan string // receives the fingerprint of the new certificate after each change
}

func newSigner(certificate string) *signer {
	return &signer{certificate: certificate, reloads: make(chan os.Signal, 1), signs: make(chan string, 1)}
}

// open creates the folder and the file.
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

// close removes the folder with the file.
func (s *signer) close() error { return os.RemoveAll(s.folder) }

// write replaces the file in one step, so that the service never reads half of it.
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

// sign implements demo.Config.Sign. Calls do not overlap.
func (s *signer) sign(ctx context.Context, certificates []string) (fingerprint string, err error) {
	select {
	case <-s.signs: // drop the fingerprint of a change that sign did not make
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

// changed is called by the service when another certificate begins to sign.
func (s *signer) changed(_, fingerprint string) {
	select {
	case s.signs <- fingerprint:
	default: // the previous fingerprint was not read yet; sign drops it
	}
}
