package app

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"refresher/internal/agora"
	"refresher/internal/api"
	"refresher/internal/auth"
	"refresher/internal/files"
	"refresher/internal/session"
)

// Project is one Agora project that tokens are made for.
type Project struct {
	AppID string
	// Certificates are its App Certificates: the first signs. The others,
	// such as the one before or the next, have their signatures recognised,
	// and open the resume keys that nodes with another first one sealed.
	Certificates []string
	// CertificateFile is where they were read from, one a line, and are read
	// again from when it changes. Empty: they do not change.
	CertificateFile string
	// KeyFiles are where the Keys were read from; when one changes, ReadKeys reads them again.
	// Empty: they do not change.
	KeyFiles []string
	ReadKeys func() (auth.Keys, error)
	// Keys are what its credentials are signed with, by Issuer and for
	// Audience, where those are set.
	Keys     auth.Keys
	Audience string
	Issuer   string
}

// ParseCertificates reads App Certificates, one a line.
func ParseCertificates(text string) ([]string, error) {
	certificates := strings.Fields(strings.TrimPrefix(text, "\ufeff"))
	if len(certificates) == 0 {
		return nil, errors.New("is empty; want App Certificates, one a line, the one to sign with first")
	}
	if len(certificates) > maxCertificates {
		return nil, fmt.Errorf("has %d words; want at most %d App Certificates, one a line", len(certificates), maxCertificates)
	}
	for _, c := range certificates {
		if strings.ContainsAny(c, `"'`) {
			return nil, errors.New("is in quotes; leave them out")
		}
		if err := agora.CheckCertificate(c); err != nil {
			return nil, err
		}
	}
	return certificates, nil
}

// maxCertificates bounds those of one project.
const maxCertificates = 8

// projects is what a node knows of its projects. It is safe for concurrent use.
type projects struct {
	minter *minter
	sealer *session.Sealer
	secret bool // resume keys are sealed under a configured secret

	mu   sync.Mutex
	byID map[string]*project // guarded by mu; the map is fixed
}

// project is one of them as it is now.
type project struct {
	Project
	since time.Time // since when the first one signs
}

// newProjects makes the sealer for the resume keys and has the minter sign.
func newProjects(c Config, m *minter) (*projects, error) {
	p := &projects{minter: m, secret: c.SessionSecret != "", byID: make(map[string]*project)}
	for _, one := range c.Projects {
		if p.byID[one.AppID] != nil {
			return nil, fmt.Errorf("app-id: %s is there twice", one.AppID)
		}
		for _, certificate := range one.Certificates {
			if err := agora.CheckCertificate(certificate); err != nil {
				return nil, err
			}
		}
		p.byID[one.AppID] = &project{Project: one}
	}
	secrets := [][]byte{[]byte(c.SessionSecret)}
	if c.SessionSecret == "" {
		if len(c.Projects) > 1 {
			return nil, errors.New("session-secret: wanted where there are several projects")
		}
		var err error
		if secrets, err = derived(c.Projects[0].Certificates); err != nil {
			return nil, err
		}
	}
	if c.PreviousSessionSecret != "" {
		secrets = append(secrets, []byte(c.PreviousSessionSecret))
	}
	var err error
	p.sealer, err = session.NewSealer(secrets...)
	return p, err
}

// derived are the secrets that resume keys are sealed under where none is
// configured: all nodes of a service share its App Certificates anyhow.
func derived(certificates []string) ([][]byte, error) {
	var secrets [][]byte
	for _, c := range certificates {
		secret, err := hkdf.Key(sha256.New, []byte(c), nil, "refresher session secret 1", 32)
		if err != nil {
			return nil, fmt.Errorf("derive session secret: %w", err)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// reload takes over what stands in a project's certificate file now, and reports
// whether tokens are signed with another certificate from now on.
func (p *projects) reload(app, text string, previousSecret string) (changed bool, err error) {
	certificates, err := ParseCertificates(text)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.byID[app]
	if slices.Equal(one.Certificates, certificates) {
		return false, nil
	}
	changed = one.Certificates[0] != certificates[0]
	if changed {
		if err := p.minter.sign(app, certificates[0]); err != nil {
			return false, err
		}
		one.since = time.Now()
	}
	// What is not there any more opens no keys: it may have leaked.
	if !p.secret {
		secrets, err := derived(certificates)
		if err != nil {
			return changed, err
		}
		if previousSecret != "" {
			secrets = append(secrets, []byte(previousSecret))
		}
		if err := p.sealer.Use(secrets...); err != nil {
			return changed, err
		}
	}
	one.Certificates = certificates
	return changed, nil
}

// certificate names the certificate that signs a project's tokens, and says since
// when it does on this node; 0: since before it started.
func (p *projects) certificate(app string) (name string, since session.UnixMilli) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.byID[app]
	if one == nil {
		return "", 0
	}
	if !one.since.IsZero() {
		since = session.MilliOf(one.since)
	}
	return fingerprint(one.Certificates[0]), since
}

// certificates are those whose signatures are a project's own, the one that signs
// first.
func (p *projects) certificates(app string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.byID[app]; one != nil {
		return slices.Clone(one.Certificates)
	}
	return nil
}

// fingerprint names a certificate without giving anything of it away.
func fingerprint(certificate string) string {
	b, err := hkdf.Key(sha256.New, []byte(certificate), nil, "refresher certificate fingerprint 1", 6)
	if err != nil {
		return "" // of no length that hkdf refuses
	}
	return hex.EncodeToString(b)
}

// inspect says what is in a token, and why Agora would refuse it for a use.
func (p *projects) inspect(app, token string, u api.Use) (any, error) {
	use := agora.Use{AppID: app, Holder: agora.Holder{Channel: u.Channel, User: u.User}}
	if u.Service != "" {
		var err error
		if use.Service, err = agora.ParseService(u.Service); err != nil {
			return nil, err
		}
	}
	return agora.Explain(token, use, p.certificates(app), time.Now()), nil
}

// follow has the projects' certificate files read again when they change.
func (p *projects) follow(w *files.Watcher, c Config, logger *slog.Logger) error {
	for app, one := range p.byID {
		if one.CertificateFile == "" {
			continue
		}
		err := w.Follow(func(contents [][]byte) error {
			changed, err := p.reload(app, string(contents[0]), c.PreviousSessionSecret)
			if changed {
				name, _ := p.certificate(app)
				logger.Info("tokens are signed with another certificate from now on; POST /v1/rotations renews those of live calls",
					"app_id", app, "fingerprint", name)
				if c.CertificateChanged != nil {
					c.CertificateChanged(app, name)
				}
			}
			return err
		}, one.CertificateFile)
		if err != nil {
			return fmt.Errorf("app-certificate-file: %w", err)
		}
	}
	return nil
}
