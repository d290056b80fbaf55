package project

import (
	"fmt"

	"refresher/internal/access/credential"
	"refresher/internal/files"
	"refresher/internal/session"
)

// Follow makes w read the projects' files again when they change. The function `credentials` replaces the keys and
// rules by which credentials are checked; if it returns an error, nothing changes. The function onChange is called when
// another certificate begins to sign a project's tokens. Both functions are called while files are read, so they must
// not block.
func (s *Set) Follow(w *files.Watcher, credentials func(...credential.Project) error, onChange func(app string, now session.Fingerprint)) error {
	f := &follower{Set: s, credentials: credentials, onChange: onChange}
	if file := s.config.ProjectsFile; file != "" {
		// The projects file comes first, since it names the other files.
		if err := w.Follow(func([][]byte) error { return f.readProjects() }, file); err != nil {
			return fmt.Errorf("projects-file: %w", err)
		}
	}
	for app := range s.byID {
		if err := w.FollowPaths(func(contents [][]byte) error { return f.readCertificates(app, contents[0]) }, func() []string {
			if file := s.get(app).CertificateFile; file != "" {
				return []string{file}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("app-certificate-file: %w", err)
		}
	}
	for app := range s.byID {
		if err := w.FollowPaths(func([][]byte) error { return f.readKeys(app) }, func() []string { return s.get(app).KeyFiles }); err != nil {
			return fmt.Errorf("the files of keys: %w", err)
		}
	}
	return nil
}

// follower applies changes of the files to a Set.
type follower struct {
	*Set
	credentials func(...credential.Project) error
	onChange    func(app string, now session.Fingerprint)
}

// readKeys replaces a project's keys. From then on, credentials that were signed with a removed key are refused, since
// that key may have leaked.
func (f *follower) readKeys(app string) error {
	p := f.get(app)
	var err error
	if p.Keys, err = p.ReadKeys(); err != nil {
		return err
	}
	return f.credentials(p.credentials())
}

func (f *follower) readCertificates(app string, content []byte) error {
	certificates, err := ParseCertificates(string(content))
	if err != nil {
		return err
	}
	return f.use(app, certificates)
}

// use replaces a project's certificates. From then on the first certificate signs tokens. Live sessions with tokens of
// another certificate get new tokens.
func (f *follower) use(app string, certificates []string) error {
	before := f.Certificate(app)
	if err := f.replace(app, certificates); err != nil {
		return err
	}
	now := f.Certificate(app)
	if now == before {
		return nil
	}
	f.config.Logger.Info("certificate rotation started: another App Certificate signs, connected sessions get new tokens; see GET /v1/certificates",
		"app_id", app, "fingerprint", now.String(), "previous", before.String(), "spread_seconds", f.config.Spread.Seconds())
	f.onChange(app, now)
	return nil
}

// readProjects reads the projects file, and the files that it names, and updates the served projects. If a file is
// invalid, nothing changes.
func (f *follower) readProjects() error {
	read, err := f.config.ReadProjects()
	if err != nil {
		return err
	}
	var served []*Project
	var credentials []credential.Project
	inFile := make(map[string]bool)
	for i := range read {
		p := &read[i]
		if inFile[p.AppID] {
			return errTwice(p.AppID)
		}
		inFile[p.AppID] = true
		if f.Serves(p.AppID) {
			served, credentials = append(served, p), append(credentials, p.credentials())
		}
	}
	if err := f.credentials(credentials...); err != nil {
		return err
	}
	for i := range read {
		if !f.Serves(read[i].AppID) {
			f.config.Logger.Warn("a project was added to the projects file; it is served after a restart", "app_id", read[i].AppID)
		}
	}
	for app := range f.byID {
		if !inFile[app] {
			f.config.Logger.Warn("a project was removed from the projects file; it is served until a restart", "app_id", app)
			f.unfollow(app)
		}
	}
	for _, p := range served {
		if err := f.take(p); err != nil {
			return err
		}
	}
	return nil
}

// unfollow stops reading a project's files, so that they can be removed without an error.
func (s *Set) unfollow(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[app].CertificateFile, s.byID[app].KeyFiles = "", nil
}

// take applies one project's entry in the projects file.
func (f *follower) take(read *Project) error {
	f.mu.Lock()
	p := f.byID[read.AppID]
	if read.Keys.JWKSURL != p.Keys.JWKSURL {
		f.config.Logger.Warn("jwksUrl of a project has changed; the old key set is used until a restart", "app_id", read.AppID)
	}
	certificates, keySet := p.Certificates, p.Keys.JWKSURL
	*p = *read
	// The certificates and the URL of the key set keep their old values here: f.use below replaces the certificates,
	// and a new JWKSURL takes effect only after a restart.
	p.Certificates, p.Keys.JWKSURL = certificates, keySet
	f.mu.Unlock()
	return f.use(read.AppID, read.Certificates)
}
