package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func TestGoReleaserSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.NewCompiler().Compile("testdata/goreleaser.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
}

// GoReleaser, scripts/reproduce.sh and deploy/Dockerfile build with the same flags, so that their binaries are equal.
func TestSameFlags(t *testing.T) {
	t.Parallel()
	release, script, image := read(t, ".goreleaser.yaml"), read(t, "scripts/reproduce.sh"), read(t, "deploy/Dockerfile")
	for flag, in := range map[string][]string{
		"-trimpath": {release, script, image}, "-buildvcs=true": {release, script}, "-s -w": {release, script, image},
		"CGO_ENABLED=0": {release, script, image}, "GOWORK=off": {release, script}, "GOFIPS140=off": {release, script},
		"{{ .CommitTimestamp }}": {release}, "goos: [linux, darwin, windows]\n    goarch: [amd64, arm64]": {release},
	} {
		for _, text := range in {
			if !strings.Contains(text, flag) {
				t.Errorf("no %q in:\n%.200s…", flag, text)
			}
		}
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if version == nil || !strings.Contains(release, "- GOTOOLCHAIN=go"+version[1]+"\n") {
		t.Errorf("GoReleaser does not build with %q, which go.mod has", version)
	}
}

// All files that the configuration names exist, and the packages have the files that docs/operate/two-machines.md needs.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	text := read(t, ".goreleaser.yaml")
	for _, m := range regexp.MustCompile(`(?m)^ +(?:- )?(?:src|postinstall|preremove): ([^.\s]\S*?)(?:/\*\*/\*)?$`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat("../../" + m[1]); err != nil {
			t.Error(err)
		}
	}
	for _, folder := range []string{"docs", "deploy/proxies", "deploy/prometheus"} {
		if !strings.Contains(text, "- src: "+folder+"\n        dst: /usr/share/doc/refresher/"+folder+"\n") {
			t.Errorf("the packages have no %s", folder)
		}
	}
	command := regexp.MustCompile(`(?m)^ +cmd: (\S+)$`).FindStringSubmatch(text)[1] // GoReleaser runs this command in the folder dist, so the path is relative to dist
	if _, err := os.Stat(filepath.Join("../../.bin/release", command)); err != nil || !strings.Contains(text, "\ndist: .bin/release\n") {
		t.Errorf("the bill of materials is made by %s: %v", command, err)
	}
}
