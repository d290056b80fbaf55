package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestSigner(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newSigner(certificate)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.changed(appID, "of an earlier change")
	s.changed(appID, "and another")
	next := strings.Repeat("0", 32)
	go func() {
		<-s.reloads
		text, err := os.ReadFile(s.file())
		if err != nil || string(text) != next+"\n"+certificate+"\n" {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		s.changed(appID, "of the next")
	}()
	if fingerprint, err := s.sign(t.Context(), []string{next, certificate}); err != nil || fingerprint != "of the next" {
		t.Errorf("%q, %v", fingerprint, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.sign(cancelled, []string{certificate}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := s.sign(t.Context(), []string{certificate}); err == nil || strings.Contains(err.Error(), certificate) {
		t.Errorf("the folder is gone: %v", err)
	}
}
