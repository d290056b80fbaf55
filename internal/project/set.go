package project

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/session"
)

// Settings are the settings of the projects.
type Settings struct {
	// Projects has at least one project. If ProjectsFile is set, Projects was read from that file. ReadProjects reads
	// the projects again when that file, or a file that it names, changes.
	Projects     []Project
	ProjectsFile string
	ReadProjects func() ([]Project, error)
	// SessionSecret encrypts resume keys. If it is empty, secrets are derived from the App Certificates.
	// PreviousSessionSecret decrypts the resume keys that were encrypted before the SessionSecret was changed.
	SessionSecret, PreviousSessionSecret string
}

// Config configures a Set.
type Config struct {
	Settings
	// Spread is the period over which sessions get new tokens after a change of the certificate. A Set only logs it.
	Spread     time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Set holds the projects that this node serves. It is safe for concurrent use.
type Set struct {
	config  Config
	sealer  *session.Sealer
	signers map[string]*signer // keyed by App ID; the map itself never changes
	issued  *prometheus.CounterVec

	mu   sync.Mutex
	byID map[string]*Project // the map never changes; mu guards the Projects in it
}

// New returns a Set. Its errors name settings by their flags.
func New(c Config) (*Set, error) {
	s := &Set{config: c, signers: make(map[string]*signer), issued: newIssued(c.Registerer), byID: make(map[string]*Project)}
	if len(c.Projects) == 0 {
		return nil, errors.New("app-id: is missing")
	}
	for _, p := range c.Projects {
		if len(p.Certificates) == 0 {
			return nil, errors.New("app-certificate: is missing")
		}
		if s.byID[p.AppID] != nil {
			return nil, errTwice(p.AppID)
		}
		for _, certificate := range p.Certificates {
			if err := agora.CheckCertificate(certificate); err != nil {
				return nil, fmt.Errorf("app-certificate: %w", err)
			}
		}
		s.byID[p.AppID], s.signers[p.AppID] = &p, new(signer)
		if err := s.signers[p.AppID].use(p.AppID, p.Certificates[0]); err != nil {
			return nil, err
		}
	}
	if c.SessionSecret == "" && len(c.Projects) > 1 {
		return nil, errors.New("session-secret: is missing; several projects need one, since it cannot be derived from several certificates")
	}
	secrets, err := s.secrets(c.Projects[0].Certificates)
	if err != nil {
		return nil, err
	}
	s.sealer, err = session.NewSealer(secrets...)
	return s, err
}

func errTwice(app string) error { return fmt.Errorf("app-id: %s is given twice", app) }

// secrets returns the secrets that encrypt resume keys: SessionSecret, or if that is empty, a secret derived from each
// certificate. All nodes have the same certificates, so they derive the same secrets.
func (s *Set) secrets(certificates []string) (secrets [][]byte, err error) {
	if s.config.SessionSecret != "" {
		secrets = append(secrets, []byte(s.config.SessionSecret))
	} else {
		for _, c := range certificates {
			secret, err := hkdf.Key(sha256.New, []byte(c), nil, "refresher session secret 1", 32)
			if err != nil {
				return nil, fmt.Errorf("derive session secret: %w", err)
			}
			secrets = append(secrets, secret)
		}
	}
	if s.config.PreviousSessionSecret != "" {
		secrets = append(secrets, []byte(s.config.PreviousSessionSecret))
	}
	return secrets, nil
}

// Sealer returns the Sealer that encrypts the resume keys of all projects.
func (s *Set) Sealer() *session.Sealer { return s.sealer }

// Serves reports whether this node serves the project.
func (s *Set) Serves(app string) bool { return s.byID[app] != nil }

// Apps returns the App IDs, in the order of the settings.
func (s *Set) Apps() []string {
	apps := make([]string, len(s.config.Projects))
	for i := range s.config.Projects {
		apps[i] = s.config.Projects[i].AppID
	}
	return apps
}

// Credentials returns the projects in the form that package credential needs.
func (s *Set) Credentials() []credential.Project {
	all := make([]credential.Project, len(s.config.Projects))
	for i := range s.config.Projects {
		all[i] = s.config.Projects[i].credentials()
	}
	return all
}

// Fingerprints returns the fingerprints of each project's certificates by App ID. The first certificate
// signs.
func (s *Set) Fingerprints() map[string][]session.Fingerprint {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string][]session.Fingerprint, len(s.byID))
	for app, p := range s.byID {
		for _, certificate := range p.Certificates {
			all[app] = append(all[app], agora.Fingerprint(certificate))
		}
	}
	return all
}

// Inspect reports what a token contains, and why Agora would refuse the token for the given use. The project is use.AppID.
func (s *Set) Inspect(token string, use agora.Use) agora.Report {
	p := s.get(use.AppID)
	return agora.Explain(token, use, p.Certificates, time.Now())
}

// get returns the current state of a project, or the zero Project if this node does not serve the project. The slices
// in the result are never modified.
func (s *Set) get(app string) Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byID[app]; p != nil {
		return *p
	}
	return Project{}
}

// replace replaces a project's certificates, the first of which signs tokens from then on.
func (s *Set) replace(app string, certificates []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID[app]
	if slices.Equal(p.Certificates, certificates) {
		return nil
	}
	if s.config.SessionSecret == "" {
		// A removed certificate must no longer decrypt resume keys, since it may have leaked.
		secrets, err := s.secrets(certificates)
		if err != nil {
			return err
		}
		if err := s.sealer.Use(secrets...); err != nil {
			return err
		}
	}
	if err := s.signers[app].use(app, certificates[0]); err != nil {
		return err
	}
	p.Certificates = certificates
	return nil
}
