package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
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

const chartDir = "../../deploy/helm/refresher"

// valueSets has sets of values for the chart, keyed by name. They override the chart's defaults.
var valueSets = map[string]string{
	"minimal": `
replicas: 1
agora: {existingSecret: agora}
auth: {existingSecret: keys}
`,
	"several pods": `
agora: {existingSecret: agora}
auth: {existingSecret: keys}
redis: {existingSecret: redis}
`,
	"everything": `
commonLabels: {team: calls}
commonAnnotations: {owner: calls}
image: {repository: registry.example.com/refresher, tag: v1.2.3, pullSecrets: [{name: pull}]}
agora: {existingSecret: agora}
auth: {existingSecret: keys, jwtPreviousSecretKey: jwt-previous, jwksURL: "https://id.example.com/jwks", publicKeyConfigMap: public-keys, audience: calls, issuer: "https://id.example.com"}
sessionSecret: {existingSecret: sealing, previousKey: before}
redis: {existingSecret: redis, caConfigMap: redis-ca, clientSecret: redis-client}
caBundle: {configMap: authorities, key: root.pem}
basePath: /calls
authorize: {url: "https://api.example.com/may", existingSecret: hooks, previousKey: authorize-before}
events: {url: "https://api.example.com/events", existingSecret: hooks, previousKey: events-before}
tls: {existingSecret: calls-tls}
settings: {REFRESHER_ALLOWED_ORIGINS: "https://app.example.com", REFRESHER_JOIN_RATE: 500.5, REFRESHER_MAX_SESSIONS: 2000000, REFRESHER_TRUSTED_PROXIES: 10.0.0.0/8, OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318"}
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}, {name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: {secretKeyRef: {name: hooks, key: collector}}}]
drainSeconds: 120
extraEnvFrom: [{secretRef: {name: more}}]
extraVolumes: [{name: geo, emptyDir: {}}]
extraVolumeMounts: [{name: geo, mountPath: /var/geo}]
initContainers: [{name: fetch, image: busybox}]
extraContainers: [{name: beside, image: busybox}]
podSecurityContext: {fsGroup: 2000, runAsUser: 1000}
livenessProbe: {periodSeconds: 20}
service: {type: LoadBalancer, nodePort: 30080, annotations: {a: b}, labels: {a: b}, appProtocol: kubernetes.io/ws, loadBalancerClass: example.com/nlb, loadBalancerSourceRanges: [10.0.0.0/8], externalTrafficPolicy: Local, internalTrafficPolicy: Local, ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]}
ingress: {enabled: true, className: nginx, hosts: [{host: calls.example.com}], tls: [{secretName: calls, hosts: [calls.example.com]}]}
httpRoute: {enabled: true, annotations: {a: b}, parentRefs: [{name: public, namespace: gateways}], hostnames: [calls.example.com], timeouts: {request: 0s}}
autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 30, metrics: [{type: External, external: {metric: {name: calls_waiting}, target: {type: AverageValue, averageValue: "1"}}}]}
networkPolicy: {publicFrom: [{namespaceSelector: {}}], egress: [{}]}
monitoring: {serviceMonitor: {enabled: true, labels: {release: prometheus}}, rules: {enabled: true}, dashboard: {enabled: true}}
serviceAccount: {annotations: {a: b}}
deploymentAnnotations: {reloader.stakater.com/auto: "true"}
podAnnotations: {a: b}
podLabels: {a: b}
nodeSelector: {a: b}
tolerations: [{key: calls, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {team: calls}}}]
priorityClassName: calls
runtimeClassName: gvisor
hostAliases: [{ip: 10.0.0.1, hostnames: [redis.internal]}]
dnsPolicy: ClusterFirst
dnsConfig: {options: [{name: ndots, value: "1"}]}
extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-extra"}}]
`,
	"several projects": `
projects: {existingSecret: projects}
redis: {existingSecret: redis}
serviceAccount: {create: false, name: mine}
networkPolicy: {enabled: false}
podDisruptionBudget: {enabled: false}
`,
	"key set, by processor time": `
agora: {existingSecret: agora}
auth: {jwksURL: "https://id.example.com/jwks"}
redis: {existingSecret: redis}
autoscaling: {enabled: true, sessionsPerPod: 0}
`,
}

// fine is the smallest set of values with which the chart renders several pods.
const fine = "agora: {existingSecret: agora}\nauth: {existingSecret: keys}\nredis: {existingSecret: redis}\n"

// render renders the chart like helm template, and returns the objects by file.
func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
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

// objects are the Kubernetes objects of a rendered chart, by kind.
type objects struct {
	deployment  *apps.Deployment
	services    []*core.Service
	accounts    []*core.ServiceAccount
	configMaps  []*core.ConfigMap
	ingress     *networking.Ingress
	policy      *networking.NetworkPolicy
	budget      *policy.PodDisruptionBudget
	scaler      *autoscaling.HorizontalPodAutoscaler
	monitor     *monitoring.ServiceMonitor
	rules       *monitoring.PrometheusRule
	route       *gateway.HTTPRoute
	text, notes string
}

// decode reads the rendered files into Kubernetes' types. It fails the test on a field that
// the type does not have.
func decode(t *testing.T, files map[string]string) *objects {
	t.Helper()
	o := &objects{}
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			o.notes = text
			continue
		}
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		o.text += text
		reader := yamlreader.NewYAMLReader(newBuffer(text))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimSpace(withoutComments(document))) > 0 {
				o.add(t, name, document)
			}
		}
	}
	return o
}

func (o *objects) add(t *testing.T, name string, document []byte) {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, document)
	}
	var into any
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		o.deployment = &apps.Deployment{}
		into = o.deployment
	case "v1 Service":
		o.services = append(o.services, &core.Service{})
		into = o.services[len(o.services)-1]
	case "v1 ServiceAccount":
		o.accounts = append(o.accounts, &core.ServiceAccount{})
		into = o.accounts[len(o.accounts)-1]
	case "v1 ConfigMap":
		o.configMaps = append(o.configMaps, &core.ConfigMap{})
		into = o.configMaps[len(o.configMaps)-1]
	case "networking.k8s.io/v1 Ingress":
		o.ingress = &networking.Ingress{}
		into = o.ingress
	case "networking.k8s.io/v1 NetworkPolicy":
		o.policy = &networking.NetworkPolicy{}
		into = o.policy
	case "policy/v1 PodDisruptionBudget":
		o.budget = &policy.PodDisruptionBudget{}
		into = o.budget
	case "autoscaling/v2 HorizontalPodAutoscaler":
		o.scaler = &autoscaling.HorizontalPodAutoscaler{}
		into = o.scaler
	case "monitoring.coreos.com/v1 ServiceMonitor":
		o.monitor = &monitoring.ServiceMonitor{}
		into = o.monitor
	case "monitoring.coreos.com/v1 PrometheusRule":
		o.rules = &monitoring.PrometheusRule{}
		into = o.rules
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		o.route = &gateway.HTTPRoute{}
		into = o.route
	default:
		t.Fatalf("%s: unexpected %s %s", name, kind.APIVersion, kind.Kind)
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		t.Errorf("%s: %v\n%s", name, err, document)
	}
}

// dashboard returns the Grafana dashboard in the chart's ConfigMap.
func (o *objects) dashboard(t *testing.T) string {
	t.Helper()
	for _, m := range o.configMaps {
		if text, ok := m.Data["refresher.json"]; ok {
			return text
		}
	}
	t.Fatal("no dashboard")
	return ""
}

func newBuffer(text string) *bufferedReader { return newBufferedReader(text) }

func withoutComments(document []byte) []byte {
	return regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAll(document, nil)
}

func TestLint(t *testing.T) {
	values, err := chartutil.ReadValues([]byte(valueSets["several pods"]))
	if err != nil {
		t.Fatal(err)
	}
	result := lint.All(chartDir, values, "rtc", true)
	for _, m := range result.Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

func TestChart(t *testing.T) {
	known := serveEnvironment(t)
	for name, values := range valueSets {
		t.Run(name, func(t *testing.T) {
			files, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			o := decode(t, files)
			checkDeployment(t, o, known)
			checkServices(t, o)
			if strings.Contains(o.notes, "<no value>") || strings.Contains(o.text, "<no value>") {
				t.Error("a value is missing")
			}
		})
	}
}

// OpenShift assigns each namespace its own users and refuses pods that name another user. So
// the permissions of the files that a pod reads must not depend on the user.
func TestNoFixedUser(t *testing.T) {
	files, err := render(t, valueSets["several pods"])
	if err != nil {
		t.Fatal(err)
	}
	pod := decode(t, files).deployment.Spec.Template.Spec
	for what, s := range map[string]any{
		"runAsUser": pod.SecurityContext.RunAsUser, "runAsGroup": pod.SecurityContext.RunAsGroup, "fsGroup": pod.SecurityContext.FSGroup,
		"the container's runAsUser": pod.Containers[0].SecurityContext.RunAsUser,
	} {
		if id := s.(*int64); id != nil {
			t.Errorf("%s is %d", what, *id)
		}
	}
	if !strings.Contains(read(t, "../../deploy/Dockerfile"), "\nUSER 65532:65532\n") {
		t.Error("the image names no user by number, which runAsNonRoot asks for")
	}
	for _, v := range pod.Volumes {
		if v.Projected != nil && v.Projected.DefaultMode != nil {
			t.Errorf("%s has a mode of its own; the default, 0644, is readable to any user", v.Name)
		}
	}
}

// Each value that the chart passes through is in the field that Kubernetes reads.
func TestHandedThrough(t *testing.T) {
	files, err := render(t, valueSets["everything"])
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, files)
	pod := o.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	var public *core.Service
	for _, s := range o.services {
		if s.Spec.Type == core.ServiceTypeLoadBalancer {
			public = s
		}
	}
	if public == nil {
		t.Fatal("no LoadBalancer")
	}
	named := func(setting, file string) bool {
		return slices.Contains(c.Env, core.EnvVar{Name: setting, Value: "/etc/refresher/" + file})
	}
	for what, ok := range map[string]bool{
		"authorize.previousKey":     named("REFRESHER_AUTHORIZE_PREVIOUS_SECRET_FILE", "authorize-previous-secret"),
		"events.previousKey":        named("REFRESHER_EVENTS_PREVIOUS_SECRET_FILE", "events-previous-secret"),
		"extraEnvFrom":              len(c.EnvFrom) == 1 && c.EnvFrom[0].SecretRef.Name == "more",
		"extraVolumes":              slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == "geo" && v.EmptyDir != nil }),
		"extraVolumeMounts":         slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == "/var/geo" }),
		"initContainers":            len(pod.InitContainers) == 1,
		"extraContainers":           len(pod.Containers) == 2,
		"podSecurityContext":        *pod.SecurityContext.FSGroup == 2000 && *pod.SecurityContext.RunAsUser == 1000,
		"livenessProbe":             c.LivenessProbe.PeriodSeconds == 20 && c.LivenessProbe.TimeoutSeconds == 5,
		"deploymentAnnotations":     o.deployment.Annotations["reloader.stakater.com/auto"] == "true",
		"topologySpreadConstraints": len(pod.TopologySpreadConstraints) == 1 && pod.TopologySpreadConstraints[0].TopologyKey == "rack",
		"runtimeClassName":          *pod.RuntimeClassName == "gvisor",
		"hostAliases":               len(pod.HostAliases) == 1,
		"dnsPolicy":                 pod.DNSPolicy == core.DNSClusterFirst,
		"dnsConfig":                 len(pod.DNSConfig.Options) == 1,
		"revisionHistoryLimit":      *o.deployment.Spec.RevisionHistoryLimit == 10,
		"nodePort":                  public.Spec.Ports[0].NodePort == 30080,
		"appProtocol":               *public.Spec.Ports[0].AppProtocol == "kubernetes.io/ws",
		"service.labels":            public.Labels["a"] == "b",
		"service.annotations":       public.Annotations["a"] == "b",
		"loadBalancerClass":         *public.Spec.LoadBalancerClass == "example.com/nlb",
		"loadBalancerSourceRanges":  slices.Equal(public.Spec.LoadBalancerSourceRanges, []string{"10.0.0.0/8"}),
		"externalTrafficPolicy":     public.Spec.ExternalTrafficPolicy == "Local",
		"internalTrafficPolicy":     *public.Spec.InternalTrafficPolicy == "Local",
		"ipFamilyPolicy":            *public.Spec.IPFamilyPolicy == core.IPFamilyPolicyPreferDualStack,
		"ipFamilies":                len(public.Spec.IPFamilies) == 2,
		"httpRoute":                 o.route != nil && o.route.Annotations["a"] == "b" && *o.route.Spec.Rules[0].Timeouts.Request == "0s" && o.route.Spec.Hostnames[0] == "calls.example.com" && o.route.Spec.ParentRefs[0].Name == "public",
		"autoscaling.metrics":       len(o.scaler.Spec.Metrics) == 3,
		"extraObjects":              slices.ContainsFunc(o.configMaps, func(m *core.ConfigMap) bool { return m.Name == "calls-extra" }),
	} {
		if !ok {
			t.Errorf("%s does not arrive", what)
		}
	}
	environment := make(map[string]string)
	for _, e := range c.Env {
		environment[e.Name] = e.Value
	}
	if at := environment["SSL_CERT_DIR"]; !holds(pod.Volumes, map[string]string{"/etc/refresher": "config"}, at+"/ca.pem") {
		t.Errorf("the authorities of caBundle are not in SSL_CERT_DIR, %q", at)
	}
	objects := map[string]metav1.ObjectMeta{
		"deployment": o.deployment.ObjectMeta, "ingress": o.ingress.ObjectMeta, "route": o.route.ObjectMeta, "network policy": o.policy.ObjectMeta,
		"budget": o.budget.ObjectMeta, "scaler": o.scaler.ObjectMeta, "monitor": o.monitor.ObjectMeta, "rules": o.rules.ObjectMeta,
		"service account": o.accounts[0].ObjectMeta, "pods": o.deployment.Spec.Template.ObjectMeta,
	}
	for _, s := range o.services {
		objects["service "+s.Name] = s.ObjectMeta
	}
	for name, meta := range objects {
		if meta.Labels["team"] != "calls" || meta.Annotations["owner"] != "calls" {
			t.Errorf("%s: labels %v, annotations %v: want commonLabels and commonAnnotations too", name, meta.Labels, meta.Annotations)
		}
	}
}

// The names of the objects follow nameOverride and fullnameOverride.
func TestNames(t *testing.T) {
	for values, want := range map[string]string{
		"":                         "calls-refresher",
		"nameOverride: tokens":     "calls-tokens",
		"fullnameOverride: tokens": "tokens",
	} {
		files, err := render(t, fine+values)
		if err != nil {
			t.Errorf("%q: %v", values, err)
			continue
		}
		if got := decode(t, files).deployment.Name; got != want {
			t.Errorf("%q: %s, want %s", values, got, want)
		}
	}
}

// The image may be named by its digest.
func TestDigest(t *testing.T) {
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	files, err := render(t, fine+"image: {repository: r.example.com/refresher, digest: '"+digest+"'}")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decode(t, files).deployment.Spec.Template.Spec.Containers[0].Image, "r.example.com/refresher@"+digest; got != want {
		t.Errorf("image is %s, want %s", got, want)
	}
}

// A setting that is given as a number is passed on exactly as it was written.
func TestSettings(t *testing.T) {
	files, err := render(t, valueSets["everything"])
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range decode(t, files).deployment.Spec.Template.Spec.Containers[0].Env {
		got[e.Name] = e.Value
	}
	for name, want := range map[string]string{"REFRESHER_JOIN_RATE": "500.5", "REFRESHER_MAX_SESSIONS": "2000000"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func checkDeployment(t *testing.T, o *objects, known map[string]bool) {
	t.Helper()
	spec := o.deployment.Spec
	pod := spec.Template.Spec
	for key, want := range spec.Selector.MatchLabels {
		if spec.Template.Labels[key] != want {
			t.Errorf("the selector asks for %s=%s, which no pod has", key, want)
		}
	}
	if (o.scaler != nil) == (spec.Replicas != nil) {
		t.Error("want replicas or a scaler")
	}
	c := pod.Containers[0]
	environment := make(map[string]core.EnvVar)
	for _, e := range c.Env {
		if _, twice := environment[e.Name]; twice {
			t.Errorf("%s is set twice", e.Name)
		}
		environment[e.Name] = e
		ours := strings.HasPrefix(e.Name, "REFRESHER_") || strings.HasPrefix(e.Name, "AGORA_")
		if ours && !known[e.Name] {
			t.Errorf("refresher serve knows no %s", e.Name)
		}
		if e.ValueFrom != nil && e.Name != "AGORA_APP_ID" && !strings.HasPrefix(e.Name, "OTEL_") {
			t.Errorf("%s is from %v: secrets are files, which are read again when they change", e.Name, e.ValueFrom)
		}
		if regexp.MustCompile(`_SECRET$|_REDIS_URL$|CERTIFICATE$`).MatchString(e.Name) {
			t.Errorf("%s is in the environment", e.Name)
		}
	}
	drain := seconds(t, environment["REFRESHER_DRAIN_WINDOW"].Value)
	stop := c.Lifecycle.PreStop.Sleep.Seconds
	// docs/operate/runbook.md requires the drain window and 15 s more.
	if grace := *pod.TerminationGracePeriodSeconds; grace < stop+drain+15 {
		t.Errorf("%d s to stop in, with %d s before and %d s of draining", grace, stop, drain)
	}
	mounted := make(map[string]string) // volumes, keyed by mount path
	for _, m := range c.VolumeMounts {
		mounted[m.MountPath] = m.Name
		if !m.ReadOnly && strings.HasPrefix(m.MountPath, "/etc/refresher") || !slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == m.Name }) {
			t.Errorf("%s: not a volume, or not only to be read", m.Name)
		}
	}
	if len(mounted) != len(pod.Volumes) {
		t.Errorf("%d volumes, %d mounted", len(pod.Volumes), len(mounted))
	}
	for _, e := range c.Env {
		if strings.HasSuffix(e.Name, "_FILE") && !holds(pod.Volumes, mounted, e.Value) {
			t.Errorf("%s: there is no %s", e.Name, e.Value)
		}
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
	for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "ops" {
			t.Errorf("%s: %v", path, probe.HTTPGet)
		}
	}
	if c.StartupProbe == nil {
		t.Error("no startup probe")
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
		len(s.Capabilities.Drop) != 1 || *pod.AutomountServiceAccountToken || pod.SecurityContext.SeccompProfile == nil {
		t.Error("the pod may do more than it has to")
	}
	if o.ingress != nil && environment["REFRESHER_TLS_CERT_FILE"].Value != "" && o.ingress.Annotations["nginx.ingress.kubernetes.io/backend-protocol"] != "HTTPS" {
		t.Error("the ingress speaks no TLS to the pods, which speak nothing else")
	}
	limit := c.Resources.Limits.Memory().Value()
	if soft := memory(t, environment["GOMEMLIMIT"].Value); soft >= limit || soft < limit*3/4 {
		t.Errorf("GOMEMLIMIT is %d of %d", soft, limit)
	}
	if len(o.accounts) == 1 && o.accounts[0].Name != pod.ServiceAccountName || len(o.accounts) == 0 && pod.ServiceAccountName != "mine" {
		t.Errorf("service account %q", pod.ServiceAccountName)
	}
}

// holds reports whether a file is in a volume that is mounted.
func holds(volumes []core.Volume, mounted map[string]string, file string) bool {
	for _, v := range volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			var name string
			var items []core.KeyToPath
			switch {
			case source.Secret != nil:
				name, items = source.Secret.Name, source.Secret.Items
			case source.ConfigMap != nil:
				name, items = source.ConfigMap.Name, source.ConfigMap.Items
			}
			for _, i := range items {
				for path, volume := range mounted {
					if volume == v.Name && filepath.Join(path, i.Path) == file {
						return name != "" && i.Key != ""
					}
				}
			}
		}
	}
	return false
}

func checkServices(t *testing.T, o *objects) {
	t.Helper()
	labels := o.deployment.Spec.Template.Labels
	chosen := func(what string, selector map[string]string) {
		t.Helper()
		if len(selector) == 0 {
			t.Errorf("%s chooses everything", what)
		}
		for key, want := range selector {
			if labels[key] != want {
				t.Errorf("%s asks for %s=%s, which no pod has", what, key, want)
			}
		}
	}
	named := make(map[string]bool)
	for _, p := range o.deployment.Spec.Template.Spec.Containers[0].Ports {
		named[p.Name] = true
	}
	var public, ops *core.Service
	for _, s := range o.services {
		chosen("service "+s.Name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if !named[p.TargetPort.StrVal] {
				t.Errorf("service %s: no port %v", s.Name, p.TargetPort)
			}
			switch p.TargetPort.StrVal {
			case "http":
				public = s
			case "ops":
				ops = s
			}
		}
	}
	if public == nil || ops == nil || public == ops || ops.Spec.Type != "" || ops.Spec.ClusterIP != core.ClusterIPNone {
		t.Fatal("want one service for clients, and one of its own for Prometheus, that is not shown to the outside")
	}
	base := "/"
	for _, e := range o.deployment.Spec.Template.Spec.Containers[0].Env {
		if e.Name == "REFRESHER_BASE_PATH" {
			base = e.Value
		}
	}
	if r := o.route; r != nil {
		rule := r.Spec.Rules[0]
		b := rule.BackendRefs[0].BackendObjectReference
		if string(b.Name) != public.Name || *b.Port != public.Spec.Ports[0].Port {
			t.Errorf("the route leads to %v", b)
		}
		if at := *rule.Matches[0].Path.Value; at != base {
			t.Errorf("the route is for %s, where the pods answer under %s", at, base)
		}
	}
	if i := o.ingress; i != nil {
		path := i.Spec.Rules[0].HTTP.Paths[0]
		if path.Path != base {
			t.Errorf("the ingress is for %s, where the pods answer under %s", path.Path, base)
		}
		b := path.Backend.Service
		if b.Name != public.Name || b.Port.Name != public.Spec.Ports[0].Name {
			t.Errorf("the ingress leads to %v", b)
		}
	}
	if p := o.policy; p != nil {
		chosen("network policy", p.Spec.PodSelector.MatchLabels)
		for _, rule := range p.Spec.Ingress {
			if rule.Ports[0].Port.StrVal == "ops" && len(rule.From) == 0 {
				t.Error("anybody may reach the operations port")
			}
		}
	}
	if b := o.budget; b != nil {
		chosen("disruption budget", b.Spec.Selector.MatchLabels)
		if b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("%v may be gone", b.Spec.MaxUnavailable)
		}
	}
	if s := o.scaler; s != nil {
		if s.Spec.ScaleTargetRef.Name != o.deployment.Name || s.Spec.ScaleTargetRef.Kind != "Deployment" || len(s.Spec.Metrics) == 0 {
			t.Errorf("it scales %v", s.Spec)
		}
	}
	if m := o.monitor; m != nil {
		for key, want := range m.Spec.Selector.MatchLabels {
			if ops.Labels[key] != want {
				t.Errorf("the monitor asks for %s=%s", key, want)
			}
			if public.Labels["app.kubernetes.io/component"] == "ops" {
				t.Error("the monitor finds the public service too")
			}
		}
		if m.Spec.Endpoints[0].Port != ops.Spec.Ports[0].Name {
			t.Errorf("it scrapes %v", m.Spec.Endpoints)
		}
		// Releases have common labels, and releases in two namespaces may have services of one
		// name.
		var sources []monitoring.LabelName
		for _, r := range m.Spec.Endpoints[0].RelabelConfigs {
			if r.TargetLabel == "job" && (r.Action == "" || r.Action == "replace") && r.Regex == "" {
				sources = r.SourceLabels
			}
		}
		if want := []monitoring.LabelName{"__meta_kubernetes_namespace", "__meta_kubernetes_service_name"}; !slices.Equal(sources, want) {
			t.Errorf("its job is named by %v, want %v", sources, want)
		}
		if keep := m.Spec.ScrapeClassicHistograms; keep == nil || !*keep {
			t.Error("where native histograms are taken, the rules find nothing")
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
		a, err := os.ReadFile(filepath.Join(chartDir, "files", copied))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("files/%s is not %s: run go generate ./test/deploy, or copy it", copied, original)
		}
	}
	files, err := render(t, valueSets["everything"])
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, files)
	if len(o.rules.Spec.Groups) == 0 {
		t.Fatal("no rules")
	}
	dashboard, err := os.ReadFile("../../deploy/grafana/dashboards/refresher.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.dashboard(t); strings.TrimSpace(got) != strings.TrimSpace(string(dashboard)) {
		t.Error("the dashboard was changed on the way")
	}
}

// The chart refuses values that would not work, or would have another effect than they seem to. The message says what
// to do.
func TestMistakes(t *testing.T) {
	for values, want := range map[string]string{
		"":                               "agora.existingSecret is missing",
		"agora: {existingSecret: agora}": "credentials must be checked with something",
		"agora: {existingSecret: agora}\nauth: {existingSecret: keys}":                                     "more than one pod needs a Redis",
		"replicas: 1\nautoscaling: {enabled: true}\nagora: {existingSecret: a}\nauth: {existingSecret: b}": "more than one pod needs a Redis",
		fine + "projects: {existingSecret: p}":                                                             "both set",
		"projects: {existingSecret: p}\nauth: {existingSecret: k}\nreplicas: 1":                            "each project has keys of its own",
		fine + "authorize: {url: 'https://x'}":                                                             "authorize.existingSecret is missing",
		fine + "events: {url: 'https://x'}":                                                                "events.existingSecret is missing",
		fine + "ingress: {enabled: true}":                                                                  "ingress.hosts is empty",
		fine + "autoscaling: {enabled: true, sessionsPerPod: 0, cpuPercent: 0}":                            "want sessionsPerPod, cpuPercent, metrics",
		fine + "settings: {REFRESHER_AUTH: none}":                                                          "REFRESHER_AUTH",
		fine + "settings: {REFRESHER_JWT_SECRET: abc}":                                                     "REFRESHER_JWT_SECRET",
		fine + "settings: {PATH: /}":                                                                       "PATH",
		fine + "replica: 3":                                                                                "replica",
		fine + "replicas: 0":                                                                               "replicas",
		fine + "endSeconds: 3":                                                                             "endSeconds",
		fine + "redis: {existingSecret: 'Not a name'}":                                                     "existingSecret",
		fine + "goMemLimit: 1GiB":                                                                          "goMemLimit is 1GiB, and resources.limits.memory 1Gi",
		fine + "goMemLimit: 512MiB\nresources: {limits: {memory: 500Mi}}":                                  "want less",
		fine + "goMemLimit: 512MiB\nresources: {limits: {memory: 5.e8}}":                                   "want less",
		fine + "resources: {limits: {memory: 1 GB}}":                                                       "resources.limits.memory is 1 GB",
		fine + "podDisruptionBudget: {maxUnavailable: banana}":                                             "maxUnavailable",
		fine + "podDisruptionBudget: {maxUnavailable: 0}":                                                  "maxUnavailable",
		fine + "podLabels: {app.kubernetes.io/name: mine}":                                                 "podLabels has app.kubernetes.io/name, which is the chart's own",
		fine + "monitoring: {rules: {labels: {helm.sh/chart: mine}}}":                                      "monitoring.rules.labels has helm.sh/chart",
		fine + "monitoring: {runbookURL: wiki}":                                                            "runbookURL",
		fine + "extraEnv: [{name: REFRESHER_REDIS_URL, value: 'redis://x'}]":                               "extraEnv",
		fine + "extraEnv: [{name: GOMEMLIMIT, value: 1GiB}]":                                               "extraEnv",
		fine + "extraEnv: [{name: OTEL_X, value: a}]\nsettings: {OTEL_X: b}":                               "OTEL_X is in settings and in extraEnv",
		fine + "ingress: {enabled: true, hosts: [{host: a.example.com, path: /calls}]}":                    "path",
		fine + "basePath: calls":                                                                           "basePath",
		fine + "basePath: /calls/":                                                                         "basePath",
		fine + "settings: {REFRESHER_BASE_PATH: /calls}":                                                   "REFRESHER_BASE_PATH",
		fine + "httpRoute: {enabled: true}":                                                                "httpRoute.parentRefs is empty",
		fine + "service: {nodePort: 30080}":                                                                "want NodePort or LoadBalancer",
		fine + "service: {type: NodePort, loadBalancerClass: x}":                                           "want service.type LoadBalancer",
		fine + "service: {sessionAffinity: ClientIP}":                                                      "sessionAffinity",
		fine + "extraVolumes: [{name: config, emptyDir: {}}]":                                              "extraVolumes has config",
		fine + "extraVolumeMounts: [{name: a, mountPath: /etc/refresher/tls}]":                             "extraVolumeMounts has /etc/refresher/tls",
		fine + "commonLabels: {app.kubernetes.io/name: mine}":                                              "commonLabels has app.kubernetes.io/name",
		fine + "image: {digest: abc}":                                                                      "digest",
		"agora: {existingSecret: a, certificateKey: ''}\nreplicas: 1":                                      "certificateKey",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", values, err, want)
		}
	}
}

// GOMEMLIMIT, the memory at which Go collects garbage, follows the pod's memory limit.
func TestMemory(t *testing.T) {
	for values, want := range map[string]string{
		"":                                          "921MiB",
		"resources: {limits: {memory: 4Gi}}":        "3686MiB",
		"resources: {limits: {memory: 1.5Gi}}":      "1382MiB",
		"resources: {limits: {memory: 2G}}":         "1716MiB",
		"resources: {limits: {memory: 2147483648}}": "1843MiB",
		"resources: {limits: {memory: 4Gi}}\ngoMemLimit: 3GiB":         "3GiB",
		"resources: {limits: {memory: null}}":                          "",
		"resources: {limits: {memory: null}}\ngoMemLimit: 2147483648B": "2147483648B",
	} {
		files, err := render(t, fine+values)
		if err != nil {
			t.Errorf("%q: %v", values, err)
			continue
		}
		got := ""
		for _, e := range decode(t, files).deployment.Spec.Template.Spec.Containers[0].Env {
			if e.Name == "GOMEMLIMIT" {
				got = e.Value
			}
		}
		if got != want {
			t.Errorf("%q: GOMEMLIMIT is %q, want %q", values, got, want)
		}
	}
}

// One value sets the runbook's address for alerts and panels.
func TestRunbookURL(t *testing.T) {
	const place = "https://docs.example.com/refresher/runbook.md"
	for _, at := range []string{place, "https://wiki.example.com/calls"} {
		values := valueSets["everything"]
		if at != place {
			values = strings.Replace(values, "monitoring: {", "monitoring: {runbookURL: '"+at+"', ", 1)
		}
		files, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		o := decode(t, files)
		for _, g := range o.rules.Spec.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" && r.Annotations["runbook_url"] != at+"#"+strings.ToLower(r.Alert) {
					t.Errorf("%s leads to %q", r.Alert, r.Annotations["runbook_url"])
				}
			}
		}
		if dashboard := o.dashboard(t); !strings.Contains(dashboard, `"query": "`+at+`"`) || at != place && strings.Contains(dashboard, place) {
			t.Errorf("the dashboard does not lead to %s", at)
		}
		if said := strings.Contains(o.notes, "monitoring.runbookURL"); said != (at == place) {
			t.Errorf("%s: the notes say that it is missing: %v", at, said)
		}
	}
}

// The notes tell clients to use TLS if the pods serve it.
func TestNotes(t *testing.T) {
	for values, want := range map[string]string{
		"":                             "connect to ws://calls-refresher.rtc:80/v1/ws",
		"tls: {existingSecret: calls}": "connect to wss://calls-refresher.rtc:80/v1/ws",
	} {
		files, err := render(t, fine+values)
		if err != nil {
			t.Fatal(err)
		}
		if o := decode(t, files); !strings.Contains(o.notes, want) {
			t.Errorf("%q: no %q in:\n%s", values, want, o.notes)
		}
	}
}

// The chart's README.md documents every value.
func TestValuesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValuesFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllSubmatch(text, -1) {
		for name := range strings.SplitSeq(string(row[1]), ", ") {
			documented[strings.Trim(name, "`")] = true
		}
	}
	for name := range values {
		if !documented[name] {
			t.Errorf("%s is not in the chart's README", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("the chart's README has %s, which is no value", name)
	}
}
