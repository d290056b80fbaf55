package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"refresher/internal/access/credential"
	"refresher/internal/project"
)

const maxProjects = 1000

// projectSettings are the settings of one project, from flags or from a projects file. Each secret is in a file of its
// own, or directly in the setting.
type projectSettings struct {
	credentials `yaml:",inline"`
	keySettings `yaml:",inline"`
}

// projects returns the projects of --projects-file, or the one project of the flags.
func (c *serveCommand) projects() ([]project.Project, error) {
	if c.ProjectsFile != "" {
		if c.credentials != (credentials{}) || c.keySettings != (keySettings{}) {
			return nil, errors.New("--projects-file and the settings of a single project (--app-id, --app-certificate, --jwt-… or their variables) are both set; want one of them")
		}
		return readProjects(c.ProjectsFile)
	}
	p, err := (&projectSettings{c.credentials, c.keySettings}).project(flagName)
	return []project.Project{p}, err
}

// readProjects reads a projects file. Its errors name a field, as in projects[0].appId, and never quote the file, which
// may contain secrets.
func readProjects(file string) ([]project.Project, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--projects-file: %w", err)
	}
	all, err := parseProjects(text)
	if err != nil {
		return nil, fmt.Errorf("--projects-file: %s: %w", file, err)
	}
	var projects []project.Project
	for i := range all {
		p, err := all[i].project(fieldName(i))
		if err == nil && len(p.Keys.Secrets) == 0 && len(p.Keys.PublicKeyPEMs) == 0 && p.Keys.JWKSURL == "" {
			err = fmt.Errorf("projects[%d] has no key that verifies credentials; want jwtSecretFile, jwtPublicKeyFile or jwksUrl", i)
		}
		if same := slices.IndexFunc(projects, func(o project.Project) bool { return o.AppID == p.AppID }); err == nil && same >= 0 {
			err = fmt.Errorf("projects[%d].appId: is the same as projects[%d].appId; want each project once", i, same)
		}
		if err != nil {
			return nil, fmt.Errorf("--projects-file: %s: %w", file, err)
		}
		projects = append(projects, p)
	}
	return projects, nil
}

// fieldName returns the function that names the settings of project i in a projects file: the setting app-certificate
// becomes projects[i].appCertificate.
func fieldName(i int) nameOf {
	return func(flag string) string {
		words := strings.Split(flag, "-")
		for j, w := range words[1:] {
			words[j+1] = strings.ToUpper(w[:1]) + w[1:]
		}
		return fmt.Sprintf("projects[%d].%s", i, strings.Join(words, ""))
	}
}

// project checks the settings, reads the files that they name, and returns the project.
func (s *projectSettings) project(name nameOf) (project.Project, error) {
	if err := s.resolve(name); err != nil {
		return project.Project{}, err
	}
	if err := s.require(name); err != nil {
		return project.Project{}, err
	}
	keys, err := s.keys(name)
	if err != nil {
		return project.Project{}, err
	}
	return project.Project{
		AppID: s.AppID, Certificates: s.certificates(), CertificateFile: s.AppCertificateFile,
		Keys: keys, KeyFiles: s.files(), Audience: s.JWTAudience, Issuer: s.JWTIssuer,
		ReadKeys: func() (credential.Keys, error) { return s.keySettings.keys(name) },
	}, nil
}

// yamlLine matches the line number in an error of the YAML library. The rest of that error is not shown, since it may
// quote the projects file, which may contain secrets.
var yamlLine = regexp.MustCompile(`line [0-9]+`)

func parseProjects(text []byte) ([]projectSettings, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err := decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("is empty; want projects: [{appId: …, appCertificateFile: …, jwtSecretFile: …}, …]")
	case err != nil:
		return nil, fmt.Errorf("is not YAML%s", strings.TrimSuffix(" ("+yamlLine.FindString(err.Error())+")", " ()"))
	case !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF):
		return nil, errors.New("has more than one YAML document; want one")
	}
	if err := checkFields("", document.Content[0], []string{"projects"}); err != nil {
		return nil, err
	}
	list := document.Content[0].Content[1]
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 || len(list.Content) > maxProjects {
		return nil, fmt.Errorf("projects: want a list of 1 to %d projects; have %s", maxProjects, kindOf(list))
	}
	projects := make([]projectSettings, len(list.Content))
	for i, item := range list.Content {
		place := fmt.Sprintf("projects[%d]", i)
		if err := checkFields(place, item, projectFields); err != nil {
			return nil, err
		}
		for j := 1; j < len(item.Content); j += 2 {
			if value := item.Content[j]; value.Kind != yaml.ScalarNode && value.Kind != yaml.AliasNode {
				return nil, fmt.Errorf("%s.%s: want a text; have %s", place, item.Content[j-1].Value, kindOf(value))
			}
		}
		if err := item.Decode(&projects[i]); err != nil {
			return nil, fmt.Errorf("%s: want a list of strings", place)
		}
	}
	return projects, nil
}

// projectFields are the names of a project's fields, in the order of projectSettings.
var projectFields = fieldsOf(reflect.TypeFor[projectSettings]())

func fieldsOf(t reflect.Type) (names []string) {
	for field := range t.Fields() {
		switch name, option, _ := strings.Cut(field.Tag.Get("yaml"), ","); {
		case option == "inline":
			names = append(names, fieldsOf(field.Type)...)
		case name != "":
			names = append(names, name)
		}
	}
	return names
}

// checkFields returns an error unless the node is an object with at least one field, all of them in the list `fields`,
// and each at most once.
func checkFields(place string, object *yaml.Node, fields []string) error {
	prefix := strings.TrimPrefix(place+": ", ": ")
	if object.Kind != yaml.MappingNode || len(object.Content) == 0 {
		return fmt.Errorf("%swant an object with the fields %s; have %s", prefix, strings.Join(fields, ", "), kindOf(object))
	}
	var seen []string
	for i := 0; i < len(object.Content); i += 2 {
		key := object.Content[i]
		switch {
		case !slices.Contains(fields, key.Value):
			hint := "want " + strings.Join(fields, ", ")
			if meant := closest(key.Value, fields); meant != "" {
				hint = "did you mean " + meant + "?"
			}
			return fmt.Errorf("%sthe field in line %d is unknown; %s", prefix, key.Line, hint)
		case slices.Contains(seen, key.Value):
			return fmt.Errorf("%s: is given twice; want it once", strings.TrimPrefix(place+"."+key.Value, "."))
		}
		seen = append(seen, key.Value)
	}
	return nil
}

// kindOf describes a YAML node for an error, without the node's text, which may be a secret.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return fmt.Sprintf("an object of %d fields", len(n.Content)/2)
	case n.Kind == yaml.SequenceNode:
		return fmt.Sprintf("a list of %d", len(n.Content))
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return "a text or number"
	}
}
