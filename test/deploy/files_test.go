package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

var settingFiles = []string{"deploy/compose.yaml", "deploy/systemd/refresher.service", "deploy/systemd/refresher.env", "render.yaml"}

func TestSettingsAreKnown(t *testing.T) {
	known := serveEnvironment(t)
	for _, path := range settingFiles {
		for _, name := range regexp.MustCompile(`\b(?:REFRESHER|AGORA)_[A-Z_]+\b`).FindAllString(read(t, "../..", path), -1) {
			if !known[name] {
				t.Errorf("%s: refresher serve knows no %s", path, name)
			}
		}
	}
}

// Every deployment sets a rate limit for joins, as docs/operate/scaling.md requires.
func TestJoinRate(t *testing.T) {
	for _, path := range []string{"deploy/compose.yaml", "deploy/helm/refresher/values.yaml", "deploy/systemd/refresher.env", "render.yaml"} {
		if !regexp.MustCompile(`(?m)^[^#\n]*\bREFRESHER_JOIN_RATE\b`).MatchString(read(t, "../..", path)) {
			t.Errorf("%s sets no REFRESHER_JOIN_RATE", path)
		}
	}
}

// The time that a deployment gives a node to stop must be at least 15 s longer than the node's drain window, which is
// 20 s in all of these files, and by default.
func TestTimeToStop(t *testing.T) {
	for path, setting := range map[string]string{
		"deploy/compose.yaml": "\n  stop_grace_period: ", "deploy/systemd/refresher.service": "\nTimeoutStopSec=", "render.yaml": "maxShutdownDelaySeconds: ",
		"docs/operate/deploy.md": "docker run .*--stop-timeout ", "deploy/Dockerfile": "docker run .*--stop-timeout ",
	} {
		text := read(t, "../..", path)
		for _, window := range regexp.MustCompile(`REFRESHER_DRAIN_WINDOW\W+(?:value: )?(\w+)`).FindAllStringSubmatch(text, -1) {
			if window[1] != "20s" {
				t.Errorf("%s: the drain window is %s", path, window[1])
			}
		}
		found := regexp.MustCompile(setting+`(\d+)`).FindAllStringSubmatch(text, -1)
		for _, stop := range found {
			if seconds(t, stop[1]+"s") < 20+15 {
				t.Errorf("%s: %s", path, stop[0])
			}
		}
		if len(found) == 0 || len(found) < strings.Count(text, "docker run ") {
			t.Errorf("%s sets no time to stop", path)
		}
	}
}

var composeEnvironment = map[string]string{
	"AGORA_APP_ID": "970CA35de60c44645bbae8a215061b33", "AGORA_APP_CERTIFICATE": "5CFd2fd1755d40ecb72977518be15d3b",
	"REFRESHER_JWT_SECRET": "what signs credentials, 32 bytes or more", "REDIS_PASSWORD": "0123456789abcdef", "GRAFANA_PASSWORD": "another",
}

func compose(t *testing.T, environment map[string]string) (*types.Project, error) {
	t.Helper()
	file, err := filepath.Abs("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: environment,
	}, func(o *loader.Options) { o.SetProjectName("refresher", true) })
}

func TestCompose(t *testing.T) {
	p, err := compose(t, maps.Clone(composeEnvironment))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it has to", name)
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && (err != nil || !v.ReadOnly) {
				t.Errorf("%s: %s: read-only: %v, %v", name, v.Source, v.ReadOnly, err)
			}
		}
		// Unless a config or a secret is a file, Compose copies it into the container. The copy fails if the
		// container's file system is read-only.
		for _, c := range s.Configs {
			if p.Configs[c.Source].File == "" {
				t.Errorf("%s cannot read %s, which is not a file", name, c.Source)
			}
		}
		for _, c := range s.Secrets {
			if p.Secrets[c.Source].File == "" {
				t.Errorf("%s cannot read %s, which is not a file", name, c.Source)
			}
		}
		for _, port := range s.Ports {
			if name != "proxy" && port.HostIP != "127.0.0.1" || strings.HasPrefix(name, "node") {
				t.Errorf("%s can be reached from outside, by port %s", name, port.Published)
			}
		}
	}
	for missing := range composeEnvironment {
		some := maps.Clone(composeEnvironment)
		delete(some, missing)
		if _, err := compose(t, some); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// HAProxy and Prometheus accept the configuration files that the Compose file mounts for them.
func TestComposeMounts(t *testing.T) {
	rules, err := filepath.Abs("../../deploy/prometheus/refresher.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	text := strings.ReplaceAll(read(t, "../../deploy/compose/prometheus.yml"), "refresher.rules.yml", rules)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "haproxy", "-c", "-f", "../../deploy/compose/haproxy.cfg")
	run(t, "promtool", "check", "config", config)
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", args, err, said)
	}
	return strings.TrimSpace(string(said))
}

// The Compose file's command starts Redis with its settings and its password, and passes a signal on to Redis.
func TestComposeRedis(t *testing.T) {
	p, err := compose(t, maps.Clone(composeEnvironment))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "redis.conf")
	text := read(t, "../../deploy/compose/redis.conf") + fmt.Sprintf("\nport 0\nunixsocket %s\ndir %s\nlogfile %s/log\n", socket, dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	service := p.Services["redis"]
	var args []string
	for _, a := range service.Command {
		args = append(args, strings.NewReplacer("/etc/redis.conf", config, "$$", "$").Replace(a))
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = os.Environ()
	for name, value := range service.Environment {
		cmd.Env = append(cmd.Env, name+"="+*value)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it has ended, most likely
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		said, _ := exec.CommandContext(t.Context(), "redis-cli", "-s", socket, "ping").CombinedOutput()
		if strings.HasPrefix(string(said), "NOAUTH") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without a password Redis says %q", said)
		}
	}
	password := composeEnvironment["REDIS_PASSWORD"]
	for setting, want := range map[string]string{
		"maxmemory-policy": "noeviction", "appendonly": "yes", "requirepass": password, "maxmemory": "419430400",
	} {
		if got := run(t, "redis-cli", "-s", socket, "--no-auth-warning", "-a", password, "config", "get", setting); got != setting+"\n"+want {
			t.Errorf("%q, want %s", got, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, read(t, dir, "log"))
	}
}

func TestUnit(t *testing.T) {
	text := read(t, "../../deploy/systemd/refresher.service")
	// systemd-analyze verify requires that the program of the unit exists, so the unit names a program that the test
	// has built.
	unit := filepath.Join(t.TempDir(), "refresher.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/local/bin/refresher", built(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := run(t, "systemd-analyze", "verify", unit); said != "" {
		t.Error(said)
	}
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", unit) // 15 stands for 1.5 on systemd's scale of exposure from 0 to 10
	for _, line := range []string{"Type=notify", "Restart=always", "StartLimitIntervalSec=0"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
}

// The hosting platform Render generates the secrets, or asks the user for them, so its file render.yaml has none.
func TestRender(t *testing.T) {
	text := read(t, "../../render.yaml")
	for _, want := range []string{
		"- key: AGORA_APP_CERTIFICATE\n        sync: false\n", "- key: REFRESHER_JWT_SECRET\n        generateValue: true\n",
		"dockerfilePath: ./deploy/Dockerfile\n", "maxmemoryPolicy: noeviction\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("render.yaml does not say %s", want)
		}
	}
}
