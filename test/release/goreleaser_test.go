package release

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// config has the fields of .goreleaser.yaml that these tests read.
type config struct {
	Dist   string `yaml:"dist"`
	Builds []struct {
		Main    string   `yaml:"main"`
		Env     []string `yaml:"env"`
		Flags   []string `yaml:"flags"`
		Ldflags []string `yaml:"ldflags"`
		GOOS    []string `yaml:"goos"`
		GOARCH  []string `yaml:"goarch"`
		Stamp   string   `yaml:"mod_timestamp"`
	} `yaml:"builds"`
	Archives []struct {
		Files []struct {
			Src string `yaml:"src"`
		} `yaml:"files"`
	} `yaml:"archives"`
	Packages []struct {
		Scripts  map[string]string `yaml:"scripts"`
		Contents []struct {
			Src string `yaml:"src"`
			Dst string `yaml:"dst"`
		} `yaml:"contents"`
	} `yaml:"nfpms"`
	SBOMs []struct {
		Cmd string `yaml:"cmd"`
	} `yaml:"sboms"`
}

func readConfig(t *testing.T) config {
	t.Helper()
	var c config
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.Packages) != 1 || len(c.SBOMs) != 1 {
		t.Fatalf("%+v", c)
	}
	return c
}

// GoReleaser's own schema refuses unknown names.
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

// GoReleaser and scripts/reproduce.sh build with the same flags, so that their binaries are
// equal.
func TestSameFlags(t *testing.T) {
	t.Parallel()
	b := readConfig(t).Builds[0]
	flags := strings.Join(b.Flags, " ") + ` -ldflags="` + strings.Join(b.Ldflags, " ") + `"`
	script := read(t, "scripts/reproduce.sh")
	if want := "go build " + flags + ` -o "$work/built" ` + b.Main; !strings.Contains(script, want) {
		t.Errorf("scripts/reproduce.sh does not say: %s", want)
	}
	image := read(t, "deploy/Dockerfile")
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", flags[strings.Index(flags, "-ldflags"):]} {
		if !strings.Contains(image, want) {
			t.Errorf("deploy/Dockerfile does not say: %s", want)
		}
	}
	for _, setting := range b.Env {
		if name, _, _ := strings.Cut(setting, "="); name != "GOTOOLCHAIN" && !strings.Contains(script, " "+setting) {
			t.Errorf("scripts/reproduce.sh does not set %s", setting)
		}
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if version == nil || !slices.Contains(b.Env, "GOTOOLCHAIN=go"+version[1]) {
		t.Errorf("built with %q, go.mod has %q", b.Env, version)
	}
	if b.Stamp != "{{ .CommitTimestamp }}" {
		t.Errorf("files are stamped with %q", b.Stamp)
	}
	for _, platform := range platforms {
		if !slices.Contains(b.GOOS, platform[0]) || !slices.Contains(b.GOARCH, platform[1]) {
			t.Errorf("not released for %s", platform)
		}
	}
	if len(b.GOOS)*len(b.GOARCH) != len(platforms) {
		t.Errorf("released for %s on %s: not all of it is tested", b.GOOS, b.GOARCH)
	}
}

// All files that the configuration names exist.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	c := readConfig(t)
	generated := ".bin/package/refresher.service"
	var sources []string
	for _, f := range c.Archives[0].Files {
		sources = append(sources, strings.ReplaceAll(f.Src, "/**/*", ""))
	}
	at := make(map[string]string)
	for _, f := range c.Packages[0].Contents {
		at[f.Dst] = f.Src
		if f.Src != "" && f.Src != generated {
			sources = append(sources, f.Src)
		}
	}
	for _, script := range c.Packages[0].Scripts {
		sources = append(sources, script)
	}
	for _, src := range sources {
		if found, err := filepath.Glob("../../" + src); err != nil || len(found) == 0 {
			t.Errorf("%s: nothing there, %v", src, err)
		}
	}
	// docs/operate/two-machines.md copies files from this folder.
	for _, folder := range []string{"docs", "deploy/proxies", "deploy/prometheus"} {
		if at["/usr/share/doc/refresher/"+folder] != folder {
			t.Errorf("the packages have no %s", folder)
		}
	}
	if at["/usr/lib/systemd/system/refresher.service"] != generated || at["/etc/refresher/refresher.env"] == "" {
		t.Errorf("the packages hold %v", at)
	}
	if !strings.HasPrefix(c.Dist, ".bin/") {
		t.Errorf("dist is %q, which git does not ignore", c.Dist)
	}
	// The command runs in the folder dist.
	if _, err := os.Stat(filepath.Join("../..", c.Dist, c.SBOMs[0].Cmd)); err != nil {
		t.Error(err)
	}
}
