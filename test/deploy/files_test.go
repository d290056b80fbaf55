package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// compose loads the compose file as docker compose does.
func compose(t *testing.T, env map[string]string) (*types.Project, error) {
	t.Helper()
	file, err := filepath.Abs("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: env,
	}, func(o *loader.Options) { o.SetProjectName("refresher", true) })
}

var composeEnvironment = map[string]string{
	"AGORA_APP_ID": "970CA35de60c44645bbae8a215061b33", "AGORA_APP_CERTIFICATE": "5CFd2fd1755d40ecb72977518be15d3b",
	"REFRESHER_JWT_SECRET": "what signs credentials, 32 bytes or more", "REDIS_PASSWORD": "0123456789abcdef", "GRAFANA_PASSWORD": "another",
}

func TestCompose(t *testing.T) {
	known := serveEnvironment(t)
	p, err := compose(t, maps.Clone(composeEnvironment))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node1", "node2", "proxy", "redis", "prometheus", "grafana"} {
		if _, err := p.GetService(name); err != nil {
			t.Error(err)
		}
	}
	for name, s := range p.Services {
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it has to", name)
		}
		if s.HealthCheck == nil && name != "node1" && name != "node2" { // their images have a health check
			t.Errorf("%s has no health check", name)
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
		// Compose copies a config that is not a file into the container, and fails if the
		// container's file system is read-only.
		for _, c := range s.Configs {
			if p.Configs[c.Source].File == "" {
				t.Errorf("%s cannot be given %s, which is not a file", name, c.Source)
			}
		}
		for _, c := range s.Secrets {
			if p.Secrets[c.Source].File == "" {
				t.Errorf("%s cannot be given %s, which is not a file", name, c.Source)
			}
		}
		for _, port := range s.Ports {
			if name != "proxy" && port.HostIP != "127.0.0.1" {
				t.Errorf("%s shows %s to everybody", name, port.Published)
			}
		}
		if !strings.HasPrefix(name, "node") {
			continue
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s is reached beside the proxy", name)
		}
		for variable, value := range s.Environment {
			if (strings.HasPrefix(variable, "REFRESHER_") || strings.HasPrefix(variable, "AGORA_")) && !known[variable] {
				t.Errorf("refresher serve knows no %s", variable)
			}
			if variable == "REFRESHER_DRAIN_WINDOW" {
				window, err := time.ParseDuration(*value)
				if err != nil || time.Duration(*s.StopGracePeriod) < window+15*time.Second {
					t.Errorf("%s has %v to stop in, and drains for %v", name, s.StopGracePeriod, *value)
				}
			}
		}
	}
	for missing := range composeEnvironment {
		some := make(map[string]string)
		for name, value := range composeEnvironment {
			if name != missing {
				some[name] = value
			}
		}
		if _, err := compose(t, some); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// TestComposeMistake finds misspelt keys. Compose's own loader accepts an unknown key only as
// an extension, with the prefix x-.
func TestComposeMistake(t *testing.T) {
	text := strings.Replace(read(t, "../../deploy/compose.yaml"), "stop_grace_period", "stop_grace", 1)
	_, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: t.TempDir(), ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(text)}}, Environment: maps.Clone(composeEnvironment),
	}, func(o *loader.Options) { o.SetProjectName("refresher", true) })
	if err == nil || !strings.Contains(err.Error(), "stop_grace") {
		t.Errorf("a misspelt key was taken: %v", err)
	}
}

// The programs accept the configuration files that the Compose file mounts.
func TestComposeMounts(t *testing.T) {
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	text := strings.ReplaceAll(read(t, "../../deploy/compose/prometheus.yml"), "refresher.rules.yml", absolute(t, "../../deploy/prometheus/refresher.rules.yml"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"haproxy", "-c", "-f", "../../deploy/compose/haproxy.cfg"},
		{"promtool", "check", "config", config},
	} {
		if said, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
}

// The Compose file's command starts Redis with its password.
func TestComposeRedis(t *testing.T) {
	p, err := compose(t, maps.Clone(composeEnvironment))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.GetService("redis")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	config := filepath.Join(dir, "redis.conf")
	const more = "\nport 0\nunixsocket %s\ndir %s\nlogfile %s/log\n"
	if err := os.WriteFile(config, fmt.Appendf([]byte(read(t, "../../deploy/compose/redis.conf")), more, socket, dir, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range s.Command {
		args = append(args, strings.ReplaceAll(strings.ReplaceAll(a, "/etc/redis.conf", config), "$$", "$"))
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	for name, value := range s.Environment {
		cmd.Env = append(cmd.Env, name+"="+*value)
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it has ended, most likely
	ask := func(args ...string) string {
		said, _ := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-s", socket}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(said))
	}
	tick, late := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !strings.HasPrefix(ask("ping"), "NOAUTH") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it says %q without a password", ask("ping"))
		}
	}
	password := composeEnvironment["REDIS_PASSWORD"]
	for want, args := range map[string][]string{
		"PONG":                         {"ping"},
		"maxmemory-policy\nnoeviction": {"config", "get", "maxmemory-policy"},
		"appendonly\nyes":              {"config", "get", "appendonly"},
		"requirepass\n" + password:     {"config", "get", "requirepass"},
		"maxmemory\n419430400":         {"config", "get", "maxmemory"},
	} {
		if got := ask(append([]string{"--no-auth-warning", "-a", password}, args...)...); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
	// A signal to the command reaches Redis, which saves its data and ends.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, read(t, dir, "log"))
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnit(t *testing.T) {
	const source = "../../deploy/systemd/refresher.service"
	text := read(t, source)
	// systemd-analyze verify requires that the program of the unit exists.
	unit := filepath.Join(t.TempDir(), "refresher.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/local/bin/refresher", built(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%v\n%s", err, said)
	}
	said, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=15", unit).CombinedOutput()
	if err != nil {
		t.Errorf("more exposed than 1.5 of 10: %v\n%s", err, said)
	}
	if !strings.Contains(text, "\nType=notify\n") {
		t.Error("systemd does not wait until it serves")
	}
	known := serveEnvironment(t)
	for _, m := range regexp.MustCompile(`\b((?:REFRESHER|AGORA)_[A-Z_]+)=`).FindAllStringSubmatch(text+read(t, "../../deploy/systemd/refresher.env"), -1) {
		if !known[m[1]] {
			t.Errorf("refresher serve knows no %s", m[1])
		}
	}
	if restarted := strings.Contains(text, "\nRestart=always\n"); !restarted || !strings.Contains(text, "\nStartLimitIntervalSec=0\n") {
		t.Error("it is not started again after each end")
	}
	window := regexp.MustCompile(`REFRESHER_DRAIN_WINDOW=(\d+)s`).FindStringSubmatch(text)
	stop := regexp.MustCompile(`TimeoutStopSec=(\d+)s`).FindStringSubmatch(text)
	if a, _ := strconv.Atoi(stop[1]); a < 15 {
		t.Error(stop)
	} else if b, _ := strconv.Atoi(window[1]); a < b+15 {
		t.Errorf("%d s to stop in, and %d s of draining", a, b)
	}
}

// By default docker stop kills the container after 10 s, in the middle of the drain. The drain takes 20 s by default,
// and the node needs a few seconds more to finish.
func TestDockerRunWaitsForTheDrain(t *testing.T) {
	seen := 0
	for _, path := range []string{"README.md", "docs/operate/deploy.md", "deploy/Dockerfile"} {
		for line := range strings.Lines(read(t, "../..", path)) {
			if !strings.Contains(line, "docker run ") {
				continue
			}
			seen++
			wait := regexp.MustCompile(` --stop-timeout (\d+) `).FindStringSubmatch(line)
			if wait == nil {
				t.Errorf("%s: %s", path, line)
			} else if n, _ := strconv.Atoi(wait[1]); n < 20+15 {
				t.Errorf("%s: %s", path, line)
			}
		}
	}
	if seen == 0 {
		t.Error("no docker run in the documents")
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

func TestRender(t *testing.T) {
	known := serveEnvironment(t)
	var file struct {
		Services []struct {
			Type                    string
			Name                    string
			Runtime                 string
			DockerfilePath          string
			DockerContext           string
			Plan                    string
			HealthCheckPath         string
			MaxShutdownDelaySeconds int
			MaxmemoryPolicy         string
			IPAllowList             []any
			EnvVars                 []struct {
				Key           string
				Value         string
				Sync          *bool
				GenerateValue bool
				FromService   *struct{ Type, Name, Property string }
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, "../../render.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	web, redis := file.Services[0], file.Services[1]
	if _, err := os.Stat(filepath.Join("../..", web.DockerfilePath)); err != nil || redis.MaxmemoryPolicy != "noeviction" {
		t.Error(err, redis)
	}
	for _, e := range web.EnvVars {
		if !known[e.Key] {
			t.Errorf("refresher serve knows no %s", e.Key)
		}
		if strings.HasSuffix(e.Key, "SECRET") && !e.GenerateValue || strings.HasSuffix(e.Key, "CERTIFICATE") && (e.Sync == nil || *e.Sync) {
			t.Errorf("%s is in the file", e.Key)
		}
		if e.FromService != nil && e.FromService.Name != redis.Name {
			t.Errorf("%s is of %s", e.Key, e.FromService.Name)
		}
	}
}
