package app

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/api"
	"refresher/internal/files"
	"refresher/internal/rotation"
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
	// again from when it changes. Empty: they stand in the settings.
	CertificateFile string
	// KeyFiles are where the Keys were read from; when one changes, ReadKeys reads them again.
	// Empty: they stand in the settings.
	KeyFiles []string
	ReadKeys func() (credential.Keys, error)
	// Keys are what its credentials are signed with, by Issuer and for
	// Audience, where those are set.
	Keys     credential.Keys
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
	for i, c := range certificates {
		if strings.ContainsAny(c, `"'`) {
			return nil, errors.New("is in quotes; leave them out")
		}
		if before := slices.Index(certificates[:i], c); before >= 0 {
			return nil, fmt.Errorf("has the same App Certificate twice, as number %d and %d; want each once", before+1, i+1)
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
	config Config
	minter *minter
	sealer *session.Sealer
	logger *slog.Logger
	// changed is told of each project that has its tokens signed with another
	// certificate; set before the files are followed by Run.
	changed func(app string)

	mu   sync.Mutex
	byID map[string]*Project // as they are now; what it points to is guarded by mu, the map is fixed
}

// newProjects makes the sealer for the resume keys and has the minter sign.
func newProjects(c Config, m *minter, logger *slog.Logger) (*projects, error) {
	p := &projects{config: c, minter: m, logger: logger, changed: func(string) {}, byID: make(map[string]*Project)}
	for _, one := range c.Projects {
		if p.byID[one.AppID] != nil {
			return nil, fmt.Errorf("app-id: %s is there twice", one.AppID)
		}
		for _, certificate := range one.Certificates {
			if err := agora.CheckCertificate(certificate); err != nil {
				return nil, err
			}
		}
		p.byID[one.AppID] = &one
	}
	if c.SessionSecret == "" && len(c.Projects) > 1 {
		return nil, errors.New("session-secret: wanted where there are several projects")
	}
	secrets, err := p.secrets(c.Projects[0].Certificates)
	if err != nil {
		return nil, err
	}
	p.sealer, err = session.NewSealer(secrets...)
	return p, err
}

// secrets are those that resume keys are sealed under: the configured one or, where
// there is none, one derived from each certificate, since all nodes of a service share
// these anyhow.
func (p *projects) secrets(certificates []string) ([][]byte, error) {
	secrets := [][]byte{[]byte(p.config.SessionSecret)}
	if p.config.SessionSecret == "" {
		secrets = nil
		for _, c := range certificates {
			secret, err := hkdf.Key(sha256.New, []byte(c), nil, "refresher session secret 1", 32)
			if err != nil {
				return nil, fmt.Errorf("derive session secret: %w", err)
			}
			secrets = append(secrets, secret)
		}
	}
	if p.config.PreviousSessionSecret != "" {
		secrets = append(secrets, []byte(p.config.PreviousSessionSecret))
	}
	return secrets, nil
}

// use takes over the certificates of a project. From now on the first one signs, and
// live sessions whose tokens another one has signed are renewed.
func (p *projects) use(app string, certificates []string) error {
	before := p.minter.certificate(app)
	if err := p.replace(app, certificates); err != nil {
		return err
	}
	now := p.minter.certificate(app)
	if now == before {
		return nil
	}
	p.logger.Info("tokens are signed with another certificate from now on; connected sessions get new ones, see GET /v1/certificates",
		"app_id", app, "fingerprint", now.String(), "previous", before.String(), "spread_seconds", p.config.Policy.CertificateSpread.Seconds())
	p.changed(app)
	if p.config.CertificateChanged != nil {
		p.config.CertificateChanged(app, now.String())
	}
	return nil
}

// replace is use without telling anybody.
func (p *projects) replace(app string, certificates []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.byID[app]
	if slices.Equal(one.Certificates, certificates) {
		return nil
	}
	if p.config.SessionSecret == "" {
		// What is not there any more opens no keys: it may have leaked.
		secrets, err := p.secrets(certificates)
		if err != nil {
			return err
		}
		if err := p.sealer.Use(secrets...); err != nil {
			return err
		}
	}
	if one.Certificates[0] != certificates[0] {
		if err := p.minter.sign(app, certificates[0]); err != nil {
			return err
		}
	}
	one.Certificates = certificates
	return nil
}

// signing returns what tokens are signed with now, by project.
func (p *projects) signing() []rotation.Project {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]rotation.Project, 0, len(p.byID))
	for app, one := range p.byID {
		fingerprints := make([]session.Fingerprint, len(one.Certificates))
		for i, certificate := range one.Certificates {
			fingerprints[i] = agora.Fingerprint(certificate)
		}
		all = append(all, rotation.Project{App: app, Certificates: fingerprints})
	}
	return all
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

// get returns a project as it is now.
func (p *projects) get(app string) Project {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.byID[app]
}

// follow has the projects file, and the projects' certificate files, read again when
// they change. update replaces what credentials are checked with, or changes nothing.
func (p *projects) follow(w *files.Watcher, update func([]Project) error) error {
	if file := p.config.ProjectsFile; file != "" {
		// Before the files that it names.
		err := w.Follow(func([][]byte) error { return p.reread(update) }, file)
		if err != nil {
			return fmt.Errorf("projects-file: %w", err)
		}
	}
	for app := range p.byID {
		err := w.FollowPaths(func(contents [][]byte) error {
			certificates, err := ParseCertificates(string(contents[0]))
			if err != nil {
				return err
			}
			return p.use(app, certificates)
		}, func() []string {
			if file := p.get(app).CertificateFile; file != "" {
				return []string{file}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("app-certificate-file: %w", err)
		}
	}
	return nil
}

// reread takes over what the projects file, and the files that it names, say of the
// projects that are served. If any part cannot be used, nothing changes.
func (p *projects) reread(update func([]Project) error) error {
	read, err := p.config.ReadProjects()
	if err != nil {
		return err
	}
	var served []Project
	there := make(map[string]bool)
	for i := range read {
		app := read[i].AppID
		if there[app] {
			return fmt.Errorf("app-id: %s is there twice", app)
		}
		there[app] = true
		if p.serves(app) {
			served = append(served, read[i])
		}
	}
	if err := update(served); err != nil {
		return err
	}
	for i := range read {
		if !p.serves(read[i].AppID) {
			p.logger.Warn("a project was added to the projects file; it is served after a restart", "app_id", read[i].AppID)
		}
	}
	for app := range p.byID {
		if !there[app] {
			p.logger.Warn("a project is gone from the projects file; it is served until a restart", "app_id", app)
			p.unfollow(app)
		}
	}
	for i := range served {
		if err := p.adopt(&served[i]); err != nil {
			return err
		}
	}
	return nil
}

// unfollow has the files of a project not looked at any more: they may be removed.
func (p *projects) unfollow(app string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[app].CertificateFile, p.byID[app].KeyFiles = "", nil
}

// serves reports whether there is such a project.
func (p *projects) serves(app string) bool { return p.byID[app] != nil }

// adopt takes over what the projects file says of one project.
func (p *projects) adopt(read *Project) error {
	p.mu.Lock()
	one := p.byID[read.AppID]
	keySet := one.Keys.JWKSURL
	if read.Keys.JWKSURL != keySet {
		p.logger.Warn("jwksUrl of a project has changed; its key set stays until a restart", "app_id", read.AppID)
	}
	certificates := one.Certificates // use replaces them
	*one = *read
	one.Certificates, one.Keys.JWKSURL = certificates, keySet
	p.mu.Unlock()
	return p.use(read.AppID, read.Certificates)
}
