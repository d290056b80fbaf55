package deploy

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

//go:generate go test -run TestChart -update .

var update = flag.Bool("update", false, "write the rendered charts into testdata")

const chartDir = "../../deploy/helm/refresher"

// fine is the smallest set of values with which the chart renders several pods.
const fine = "agora: {existingSecret: agora}\nauth: {existingSecret: keys}\nredis: {existingSecret: redis}\n"

func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	c.Metadata.Version, c.Metadata.AppVersion = "0.0.0", "0.0.0" // fixed, so that a release does not change the golden files
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "calls", Namespace: "rtc", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// kinds has, for each kind of object that the chart may render, a function that creates an empty object.
var kinds = map[string]func() metav1.Object{
	"apps/v1 Deployment":                      func() metav1.Object { return new(apps.Deployment) },
	"v1 Service":                              func() metav1.Object { return new(core.Service) },
	"v1 ServiceAccount":                       func() metav1.Object { return new(core.ServiceAccount) },
	"v1 ConfigMap":                            func() metav1.Object { return new(core.ConfigMap) },
	"networking.k8s.io/v1 Ingress":            func() metav1.Object { return new(networking.Ingress) },
	"networking.k8s.io/v1 NetworkPolicy":      func() metav1.Object { return new(networking.NetworkPolicy) },
	"policy/v1 PodDisruptionBudget":           func() metav1.Object { return new(policy.PodDisruptionBudget) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() metav1.Object { return new(autoscaling.HorizontalPodAutoscaler) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() metav1.Object { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() metav1.Object { return new(monitoring.PrometheusRule) },
	"gateway.networking.k8s.io/v1 HTTPRoute":  func() metav1.Object { return new(gateway.HTTPRoute) },
}

type rendered struct {
	objects []metav1.Object
	text    string // the YAML of the objects, without the alerts and the dashboard
	notes   string
}

// chart renders the chart and decodes its objects. A field that a Kubernetes type does not have fails the test.
func chart(t *testing.T, values string) rendered {
	t.Helper()
	files, err := render(t, values)
	if err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	r := rendered{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			r.notes = files[name]
		}
		reader := yamlreader.NewYAMLReader(bufio.NewReader(strings.NewReader(files[name])))
		for strings.HasSuffix(name, ".yaml") {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			var kind struct{ APIVersion, Kind string }
			if err := errors.Join(err, yaml.Unmarshal(document, &kind)); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			if kind.Kind == "" {
				continue // this document of the YAML file has only comments, so it is no object
			}
			create := kinds[kind.APIVersion+" "+kind.Kind]
			if create == nil {
				t.Fatalf("%s: unexpected %s %s", name, kind.APIVersion, kind.Kind)
			}
			object := create()
			if err := yaml.UnmarshalStrict(document, object); err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
			}
			r.objects = append(r.objects, object)
			if kind.Kind != "PrometheusRule" && !strings.HasSuffix(object.GetName(), "dashboard") {
				r.text += "---\n" + strings.TrimSpace(string(document)) + "\n"
			}
		}
	}
	return r
}

func all[T metav1.Object](r rendered) (found []T) {
	for _, o := range r.objects {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

func (r rendered) deployment() *apps.Deployment { return all[*apps.Deployment](r)[0] }

// environment returns the variables of the service's container.
func (r rendered) environment() map[string]core.EnvVar {
	variables := make(map[string]core.EnvVar)
	for _, e := range r.deployment().Spec.Template.Spec.Containers[0].Env {
		variables[e.Name] = e
	}
	return variables
}

func TestLint(t *testing.T) {
	values, err := chartutil.ReadValues([]byte(fine))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range lint.All(chartDir, values, "rtc", true).Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

// TestChart renders the chart with each set of values in testdata. Every field of the output must exist in
// Kubernetes' types, the objects must refer to each other correctly, and the output must equal the golden file, which
// go generate writes.
func TestChart(t *testing.T) {
	known := serveEnvironment(t)
	files, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r := chart(t, read(t, file))
			checkSettings(t, r, known)
			checkPod(t, r)
			checkSelectors(t, r)
			golden, got := strings.Replace(file, ".values.", ".golden.", 1), r.text+"---\n"+strings.TrimSpace(r.notes)+"\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got != read(t, golden) {
				t.Errorf("%s is not what the chart renders: run go -C test/deploy generate ., and see what it changes", golden)
			}
		})
	}
}

// checkSettings checks that refresher serve knows each variable, and that each secret is a file in a volume.
func checkSettings(t *testing.T, r rendered, known map[string]bool) {
	t.Helper()
	c := r.deployment().Spec.Template.Spec.Containers[0]
	if len(r.environment()) != len(c.Env) {
		t.Error("a variable is set twice")
	}
	files := mountedFiles(r)
	for name, e := range r.environment() {
		switch {
		case (strings.HasPrefix(name, "REFRESHER_") || strings.HasPrefix(name, "AGORA_")) && !known[name]:
			t.Errorf("refresher serve knows no %s", name)
		case e.ValueFrom != nil && name != "AGORA_APP_ID" && !strings.HasPrefix(name, "OTEL_"),
			regexp.MustCompile(`_SECRET$|_REDIS_URL$|CERTIFICATE$`).MatchString(name):
			t.Errorf("%s is in the environment; a secret must be a file, which the service reads again when it changes", name)
		case strings.HasSuffix(name, "_FILE") && !files[e.Value]:
			t.Errorf("%s: there is no %s", name, e.Value)
		case name == "SSL_CERT_DIR" && !files[e.Value+"/ca.pem"]:
			t.Errorf("SSL_CERT_DIR, %s, has no ca.pem", e.Value)
		}
	}
}

func mountedFiles(r rendered) map[string]bool {
	pod := r.deployment().Spec.Template.Spec
	files := make(map[string]bool)
	for _, v := range pod.Volumes {
		for _, m := range pod.Containers[0].VolumeMounts {
			if m.Name != v.Name || v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				var items []core.KeyToPath
				if source.Secret != nil {
					items = source.Secret.Items
				} else if source.ConfigMap != nil {
					items = source.ConfigMap.Items
				}
				for _, i := range items {
					files[path.Join(m.MountPath, i.Path)] = true
				}
			}
		}
	}
	return files
}

// checkPod checks that the pod has enough time to drain, that its ports fit its settings, and that it has no right that
// it does not need.
func checkPod(t *testing.T, r rendered) {
	t.Helper()
	pod := r.deployment().Spec.Template.Spec
	c, environment := pod.Containers[0], r.environment()
	// The time that Kubernetes gives the pod to stop must cover the preStop sleep, the drain window and 15 s more: see
	// docs/operate/runbook.md.
	drain, stop := seconds(t, environment["REFRESHER_DRAIN_WINDOW"].Value), c.Lifecycle.PreStop.Sleep.Seconds
	if grace := *pod.TerminationGracePeriodSeconds; grace < stop+drain+15 {
		t.Errorf("the pod may take %d s to stop, with %d s before and %d s of draining", grace, stop, drain)
	}
	ports := make(map[string]int32)
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for name, variable := range map[string]string{"http": "REFRESHER_LISTEN", "ops": "REFRESHER_OPS_LISTEN"} {
		if environment[variable].Value != fmt.Sprintf(":%d", ports[name]) {
			t.Errorf("port %s is %d, and %s is %q", name, ports[name], variable, environment[variable].Value)
		}
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
		len(s.Capabilities.Drop) != 1 || *pod.AutomountServiceAccountToken || pod.SecurityContext.SeccompProfile == nil {
		t.Error("the pod may do more than it has to")
	}
	if (len(all[*autoscaling.HorizontalPodAutoscaler](r)) > 0) == (r.deployment().Spec.Replicas != nil) {
		t.Error("want either replicas or a scaler")
	}
}

// checkSelectors checks that each selector matches the chart's pods, and that only Prometheus can reach the operations
// port.
func checkSelectors(t *testing.T, r rendered) {
	t.Helper()
	labels := r.deployment().Spec.Template.Labels
	selectors := map[string]map[string]string{"deployment": r.deployment().Spec.Selector.MatchLabels}
	for _, s := range all[*core.Service](r) {
		selectors["service "+s.Name] = s.Spec.Selector
		if s.Spec.Ports[0].TargetPort.StrVal == "ops" && (s.Spec.Type != "" || s.Spec.ClusterIP != core.ClusterIPNone || len(s.Spec.Ports) > 1) {
			t.Errorf("service %s makes the operations port available outside of the cluster", s.Name)
		}
	}
	for _, p := range all[*networking.NetworkPolicy](r) {
		selectors["network policy"] = p.Spec.PodSelector.MatchLabels
		for _, rule := range p.Spec.Ingress {
			if rule.Ports[0].Port.StrVal == "ops" && len(rule.From) == 0 {
				t.Error("the network policy opens the operations port to everyone")
			}
		}
	}
	for _, b := range all[*policy.PodDisruptionBudget](r) {
		selectors["disruption budget"] = b.Spec.Selector.MatchLabels
	}
	for what, selector := range selectors {
		for key, want := range selector {
			if labels[key] != want {
				t.Errorf("%s asks for %s=%s, which no pod has", what, key, want)
			}
		}
	}
}

// The chart has copies of the rules and the dashboard, since Helm cannot read files outside
// the chart.
func TestCopies(t *testing.T) {
	for copied, original := range map[string]string{
		"refresher.rules.yml": "../../deploy/prometheus/refresher.rules.yml",
		"refresher.json":      "../../deploy/grafana/dashboards/refresher.json",
	} {
		if read(t, chartDir, "files", copied) != read(t, original) {
			t.Errorf("files/%s is not a copy of %s", copied, original)
		}
	}
}

// The chart refuses values that would not work, or whose effect would be a surprise. The message says what to do.
func TestMistakes(t *testing.T) {
	for values, want := range map[string]string{
		"":                               "agora.existingSecret is missing",
		"agora: {existingSecret: agora}": "credentials must be checked with something",
		"agora: {existingSecret: agora}\nauth: {existingSecret: keys}":                  "more than one pod needs a Redis",
		fine + "projects: {existingSecret: p}":                                          "both set",
		"projects: {existingSecret: p}\nauth: {existingSecret: k}\nreplicas: 1":         "each project has keys of its own",
		fine + "authorize: {url: 'https://x'}":                                          "authorize.existingSecret is missing",
		fine + "events: {url: 'https://x'}":                                             "events.existingSecret is missing",
		fine + "ingress: {enabled: true}":                                               "ingress.hosts is empty",
		fine + "autoscaling: {enabled: true, sessionsPerPod: 0, cpuPercent: 0}":         "want sessionsPerPod, cpuPercent, metrics",
		fine + "settings: {REFRESHER_AUTH: none}":                                       "REFRESHER_AUTH",
		fine + "settings: {REFRESHER_JWT_SECRET: abc}":                                  "REFRESHER_JWT_SECRET",
		fine + "settings: {PATH: /}":                                                    "PATH",
		fine + "replica: 3":                                                             "replica",
		fine + "replicas: 0":                                                            "replicas",
		fine + "redis: {existingSecret: 'Not a name'}":                                  "existingSecret",
		fine + "goMemLimit: 1GiB":                                                       "goMemLimit is 1GiB, and resources.limits.memory 1Gi",
		fine + "goMemLimit: 512MiB\nresources: {limits: {memory: 500Mi}}":               "want less",
		fine + "resources: {limits: {memory: 1 GB}}":                                    "resources.limits.memory is 1 GB",
		fine + "podDisruptionBudget: {maxUnavailable: banana}":                          "maxUnavailable",
		fine + "podLabels: {app.kubernetes.io/name: mine}":                              "podLabels has app.kubernetes.io/name, which is the chart's own",
		fine + "monitoring: {rules: {labels: {helm.sh/chart: mine}}}":                   "monitoring.rules.labels has helm.sh/chart",
		fine + "monitoring: {runbookURL: wiki}":                                         "runbookURL",
		fine + "extraEnv: [{name: REFRESHER_REDIS_URL, value: 'redis://x'}]":            "extraEnv",
		fine + "extraEnv: [{name: OTEL_X, value: a}]\nsettings: {OTEL_X: b}":            "OTEL_X is in settings and in extraEnv",
		fine + "ingress: {enabled: true, hosts: [{host: a.example.com, path: /calls}]}": "path",
		fine + "basePath: calls":                                                        "basePath",
		fine + "settings: {REFRESHER_BASE_PATH: /calls}":                                "REFRESHER_BASE_PATH",
		fine + "httpRoute: {enabled: true}":                                             "httpRoute.parentRefs is empty",
		fine + "service: {nodePort: 30080}":                                             "want NodePort or LoadBalancer",
		fine + "service: {type: NodePort, loadBalancerClass: x}":                        "want service.type LoadBalancer",
		fine + "service: {sessionAffinity: ClientIP}":                                   "sessionAffinity",
		fine + "extraVolumes: [{name: config, emptyDir: {}}]":                           "extraVolumes has config",
		fine + "extraVolumeMounts: [{name: a, mountPath: /etc/refresher/tls}]":          "extraVolumeMounts has /etc/refresher/tls",
		fine + "commonLabels: {app.kubernetes.io/name: mine}":                           "commonLabels has app.kubernetes.io/name",
		fine + "image: {digest: abc}":                                                   "digest",
		"agora: {existingSecret: a, certificateKey: ''}\nreplicas: 1":                   "certificateKey",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", values, err, want)
		}
	}
}

// GOMEMLIMIT, the memory limit that the Go runtime tries to keep, is nine tenths of the pod's memory limit.
func TestMemory(t *testing.T) {
	for values, want := range map[string]string{
		"":                                     "921MiB",
		"resources: {limits: {memory: 1.5Gi}}": "1382MiB",
		"resources: {limits: {memory: 2G}}":    "1716MiB",
		"resources: {limits: {memory: 2147483648}}":                    "1843MiB",
		"resources: {limits: {memory: 4Gi}}\ngoMemLimit: 3GiB":         "3GiB",
		"resources: {limits: {memory: null}}":                          "",
		"resources: {limits: {memory: null}}\ngoMemLimit: 2147483648B": "2147483648B",
	} {
		if got := chart(t, fine+values).environment()["GOMEMLIMIT"].Value; got != want {
			t.Errorf("%q: GOMEMLIMIT is %q, want %q", values, got, want)
		}
	}
}

// The value monitoring.runbookURL sets the runbook's address for all alerts and panels.
func TestRunbookURL(t *testing.T) {
	const address, placeholder = "https://wiki.example.com/calls", "https://docs.example.com/refresher/runbook.md"
	files, err := render(t, fine+"monitoring: {runbookURL: '"+address+"', rules: {enabled: true}, dashboard: {enabled: true}}")
	if err != nil {
		t.Fatal(err)
	}
	text := files["refresher/templates/monitoring.yaml"]
	if !strings.Contains(text, `"query": "`+address+`"`) || !strings.Contains(text, address+"#refresher") || strings.Contains(text, placeholder) {
		t.Errorf("alerts and panels do not lead to %s, or lead to %s", address, placeholder)
	}
}

func TestValuesAreDocumented(t *testing.T) {
	values, err := chartutil.ReadValuesFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range values {
		if !strings.Contains(read(t, chartDir, "README.md"), "`"+name+"`") {
			t.Errorf("%s is not in the chart's README", name)
		}
	}
}
