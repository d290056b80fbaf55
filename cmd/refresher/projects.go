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

// projectsFile is the file of --projects-file.
type projectsFile struct {
	Projects []projectSettings `yaml:"projects"`
}

// projectSettings are those of one project. Secrets stand in files of their own,
// or, where the file itself is secret, in it.
type projectSettings struct {
	AppID                 string `yaml:"appId"`
	AppCertificate        string `yaml:"appCertificate"`
	AppCertificateFile    string `yaml:"appCertificateFile"`
	JWTSecret             string `yaml:"jwtSecret"`
	JWTSecretFile         string `yaml:"jwtSecretFile"`
	JWTPreviousSecret     string `yaml:"jwtPreviousSecret"`
	JWTPreviousSecretFile string `yaml:"jwtPreviousSecretFile"`
	JWTPublicKeyFile      string `yaml:"jwtPublicKeyFile"`
	JWKSURL               string `yaml:"jwksUrl"`
	JWTAudience           string `yaml:"jwtAudience"`
	JWTIssuer             string `yaml:"jwtIssuer"`
}

// projects are those of --projects-file, or the one of the flags.
func (c *serveCommand) projects() ([]project.Project, error) {
	if c.ProjectsFile != "" {
		if c.AppID != "" || c.AppCertificate != "" || c.AppCertificateFile != "" || c.keySettings != (keySettings{}) {
			return nil, errors.New("--projects-file and the settings of a single project (--app-id, --app-certificate, --jwt-… or their variables) are both set; want one")
		}
		return readProjects(c.ProjectsFile)
	}
	if err := c.resolve(); err != nil {
		return nil, err
	}
	if err := c.require(); err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if _, err := project.ParseCertificates(c.AppCertificate); err != nil {
		return nil, fmt.Errorf("app-certificate: %w", err)
	}
	return []project.Project{{
		AppID: c.AppID, Certificates: c.certificates(), CertificateFile: c.AppCertificateFile,
		Keys: keys, KeyFiles: c.files(), ReadKeys: c.keySettings.keys, Audience: c.JWTAudience, Issuer: c.JWTIssuer,
	}}, nil
}

// readProjects reads a projects file. Its errors quote nothing of it.
func readProjects(file string) ([]project.Project, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("projects-file: %w", err)
	}
	var f projectsFile
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if decoder.Decode(&f) != nil || !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) || len(f.Projects) == 0 || len(f.Projects) > maxProjects {
		return nil, fmt.Errorf("projects-file: want YAML of the form projects: [{appId: …, appCertificateFile: …, jwtSecretFile: …}, …], 1 to %d of them, with the fields of docs/security.md and no others", maxProjects)
	}
	var projects []project.Project
	for i := range f.Projects {
		p, err := f.Projects[i].project()
		if err != nil {
			return nil, fmt.Errorf("projects-file: project %d: %w", i+1, err)
		}
		projects = append(projects, p)
	}
	return projects, nil
}

func (s *projectSettings) project() (project.Project, error) {
	c := credentials{AppID: s.AppID, AppCertificate: s.AppCertificate, AppCertificateFile: s.AppCertificateFile}
	if err := cmp.Or(c.resolve(), c.require()); err != nil {
		return project.Project{}, err
	}
	k := keySettings{
		inFile:    true,
		JWTSecret: s.JWTSecret, JWTSecretFile: s.JWTSecretFile,
		JWTPreviousSecret: s.JWTPreviousSecret, JWTPreviousSecretFile: s.JWTPreviousSecretFile,
		JWTPublicKeyFile: s.JWTPublicKeyFile, JWKSURL: s.JWKSURL,
	}
	keys, err := k.keys()
	if err != nil {
		return project.Project{}, err
	}
	if len(keys.Secrets) == 0 && len(keys.PublicKeyPEMs) == 0 && keys.JWKSURL == "" {
		return project.Project{}, errors.New("has no keys; want jwtSecretFile, jwtPublicKeyFile or jwksUrl")
	}
	certificates, err := project.ParseCertificates(c.AppCertificate)
	if err != nil {
		return project.Project{}, fmt.Errorf("appCertificate: %w", err)
	}
	return project.Project{
		AppID: s.AppID, Certificates: certificates, CertificateFile: s.AppCertificateFile,
		Keys: keys, KeyFiles: k.files(), ReadKeys: k.keys, Audience: s.JWTAudience, Issuer: s.JWTIssuer,
	}, nil
}
