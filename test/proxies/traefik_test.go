//go:build programs

package proxies

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// static has the fields of Traefik's static configuration that traefik.yml uses, by the names
// in Traefik's reference.
type static struct {
	Global struct {
		CheckNewVersion    bool `yaml:"checkNewVersion"`
		SendAnonymousUsage bool `yaml:"sendAnonymousUsage"`
	} `yaml:"global"`
	EntryPoints map[string]struct {
		Address          string `yaml:"address"`
		ForwardedHeaders struct {
			Insecure   bool     `yaml:"insecure"`
			TrustedIPs []string `yaml:"trustedIPs"`
		} `yaml:"forwardedHeaders"`
		HTTP struct {
			MaxHeaderBytes int      `yaml:"maxHeaderBytes"`
			SanitizePath   bool     `yaml:"sanitizePath"`
			TLS            struct{} `yaml:"tls"`
		} `yaml:"http"`
		Transport struct {
			RespondingTimeouts struct {
				ReadTimeout  time.Duration `yaml:"readTimeout"`
				WriteTimeout time.Duration `yaml:"writeTimeout"`
				IdleTimeout  time.Duration `yaml:"idleTimeout"`
			} `yaml:"respondingTimeouts"`
			LifeCycle struct {
				GraceTimeOut time.Duration `yaml:"graceTimeOut"`
			} `yaml:"lifeCycle"`
		} `yaml:"transport"`
	} `yaml:"entryPoints"`
	Providers struct {
		File struct {
			Filename string `yaml:"filename"`
			Watch    bool   `yaml:"watch"`
		} `yaml:"file"`
	} `yaml:"providers"`
	Log struct {
		Level string `yaml:"level"`
	} `yaml:"log"`
	AccessLog struct {
		Format string `yaml:"format"`
		Fields struct {
			Names   map[string]string `yaml:"names"`
			Headers struct {
				DefaultMode string `yaml:"defaultMode"`
			} `yaml:"headers"`
		} `yaml:"fields"`
	} `yaml:"accessLog"`
}

// dynamic has the fields of Traefik's dynamic configuration that traefik-dynamic.yml uses.
type dynamic struct {
	TLS struct {
		Certificates []struct {
			CertFile string `yaml:"certFile"`
			KeyFile  string `yaml:"keyFile"`
		} `yaml:"certificates"`
		Options map[string]struct {
			MinVersion    string   `yaml:"minVersion"`
			ALPNProtocols []string `yaml:"alpnProtocols"`
		} `yaml:"options"`
	} `yaml:"tls"`
	HTTP struct {
		Routers map[string]struct {
			EntryPoints []string `yaml:"entryPoints"`
			Rule        string   `yaml:"rule"`
			Middlewares []string `yaml:"middlewares"`
			Service     string   `yaml:"service"`
			TLS         struct{} `yaml:"tls"`
		} `yaml:"routers"`
		Middlewares map[string]struct {
			Headers struct {
				CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
			} `yaml:"headers"`
			Retry struct {
				Attempts int `yaml:"attempts"`
			} `yaml:"retry"`
		} `yaml:"middlewares"`
		Services map[string]struct {
			LoadBalancer struct {
				Servers []struct {
					URL string `yaml:"url"`
				} `yaml:"servers"`
				PassHostHeader   bool   `yaml:"passHostHeader"`
				ServersTransport string `yaml:"serversTransport"`
				HealthCheck      struct {
					Path     string        `yaml:"path"`
					Hostname string        `yaml:"hostname"`
					Interval time.Duration `yaml:"interval"`
					Timeout  time.Duration `yaml:"timeout"`
				} `yaml:"healthCheck"`
				ResponseForwarding struct {
					FlushInterval time.Duration `yaml:"flushInterval"`
				} `yaml:"responseForwarding"`
			} `yaml:"loadBalancer"`
		} `yaml:"services"`
		ServersTransports map[string]struct {
			ForwardingTimeouts struct {
				DialTimeout           time.Duration `yaml:"dialTimeout"`
				ResponseHeaderTimeout time.Duration `yaml:"responseHeaderTimeout"`
				IdleConnTimeout       time.Duration `yaml:"idleConnTimeout"`
			} `yaml:"forwardingTimeouts"`
		} `yaml:"serversTransports"`
	} `yaml:"http"`
}

// strictly reads a file, and fails the test on a field that the structure does not have.
func strictly(t *testing.T, file string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(shipped(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// The test does not run Traefik; docs/operate/proxies.md says why. It checks that the files
// have the structure of Traefik's reference and that the names in them refer to existing
// parts.
func TestTraefik(t *testing.T) {
	t.Parallel()
	var s static
	strictly(t, "traefik.yml", &s)
	var d dynamic
	strictly(t, "traefik-dynamic.yml", &d)
	router := d.HTTP.Routers["calls"]
	for _, name := range router.EntryPoints {
		entry, ok := s.EntryPoints[name]
		if !ok {
			t.Errorf("there is no entry point %q", name)
		}
		if entry.ForwardedHeaders.Insecure || len(entry.ForwardedHeaders.TrustedIPs) != 0 {
			t.Errorf("%s believes what clients claim of their addresses", name)
		}
	}
	for _, name := range router.Middlewares {
		if _, ok := d.HTTP.Middlewares[name]; !ok {
			t.Errorf("there is no middleware %q", name)
		}
	}
	service, ok := d.HTTP.Services[router.Service]
	if !ok || len(service.LoadBalancer.Servers) != 2 {
		t.Errorf("the service is %q, with %d nodes", router.Service, len(service.LoadBalancer.Servers))
	}
	if _, ok := d.HTTP.ServersTransports[service.LoadBalancer.ServersTransport]; !ok {
		t.Errorf("there is no transport %q", service.LoadBalancer.ServersTransport)
	}
	if got := d.HTTP.Middlewares["claims"].Headers.CustomRequestHeaders; len(got) != 1 || got["Forwarded"] != "" {
		t.Errorf("the claims that are dropped are %v", got)
	}
}
