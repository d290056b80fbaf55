package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"refresher/internal/project"
)

// maxProjects bounds those of one service.
const maxProjects = 1000

// projectSettings are those of one project: flags, or fields of a projects file. There
// secrets stand in files of their own, or, where the file itself is secret, in it.
type projectSettings struct {
	credentials `yaml:",inline"`
	keySettings `yaml:",inline"`
}

// projects are those of --projects-file, or the one of the flags.
func (c *serveCommand) projects() ([]project.Project, error) {
	if c.ProjectsFile != "" {
		if c.credentials != (credentials{}) || c.keySettings != (keySettings{}) {
			return nil, errors.New("--projects-file and the settings of a single project (--app-id, --app-certificate, --jwt-… or their variables) are both set; want one")
		}
		return readProjects(c.ProjectsFile)
	}
	p, err := (&projectSettings{c.credentials, c.keySettings}).project()
	return []project.Project{p}, err
}

// readProjects reads a projects file. Its errors quote nothing of it.
func readProjects(file string) ([]project.Project, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("projects-file: %w", err)
	}
	var f struct {
		Projects []projectSettings `yaml:"projects"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if decoder.Decode(&f) != nil || !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) || len(f.Projects) == 0 || len(f.Projects) > maxProjects {
		return nil, fmt.Errorf("projects-file: want YAML of the form projects: [{appId: …, appCertificateFile: …, jwtSecretFile: …}, …], 1 to %d of them, with the fields of docs/build/credentials.md and no others", maxProjects)
	}
	var projects []project.Project
	for i := range f.Projects {
		f.Projects[i].inFile = true
		p, err := f.Projects[i].project()
		if err == nil && len(p.Keys.Secrets) == 0 && len(p.Keys.PublicKeyPEMs) == 0 && p.Keys.JWKSURL == "" {
			err = errors.New("has no keys; want jwtSecretFile, jwtPublicKeyFile or jwksUrl")
		}
		if err != nil {
			return nil, fmt.Errorf("projects-file: project %d: %w", i+1, err)
		}
		projects = append(projects, p)
	}
	return projects, nil
}

func (s *projectSettings) project() (project.Project, error) {
	if err := cmp.Or(s.resolve(), s.require()); err != nil {
		return project.Project{}, err
	}
	keys, err := s.keys()
	if err != nil {
		return project.Project{}, err
	}
	name := "app-certificate"
	if s.inFile {
		name = "appCertificate"
	}
	certificates, err := project.ParseCertificates(s.AppCertificate)
	if err != nil {
		return project.Project{}, fmt.Errorf("%s: %w", name, err)
	}
	return project.Project{
		AppID: s.AppID, Certificates: certificates, CertificateFile: s.AppCertificateFile,
		Keys: keys, KeyFiles: s.files(), ReadKeys: s.keySettings.keys, Audience: s.JWTAudience, Issuer: s.JWTIssuer,
	}, nil
}
