{{- define "refresher.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "refresher.selector" -}}
app.kubernetes.io/name: refresher
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "refresher.labels" -}}
{{ include "refresher.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "refresher.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "refresher.name" .) }}
{{- end }}

{{- /* An environment variable that is in a Secret. */ -}}
{{- define "refresher.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{- /* An amount of memory in bytes, whether it was written as a number or with a unit. */ -}}
{{- define "refresher.bytes" -}}
{{- $text := .value -}}
{{- if kindIs "float64" $text }}{{ $text = $text | int64 | toString }}{{ end -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" ($text | toString) -}}
{{- $unit := trimPrefix $number ($text | toString) -}}
{{- if or (not $number) (not (hasKey $units $unit)) }}{{ fail (printf "%s is %v: want a number with Ki, Mi, Gi or Ti" .name .value) }}{{ end -}}
{{- mulf (float64 $number) (float64 (get $units $unit)) | int64 -}}
{{- end }}

{{- /* What Go collects garbage by: given, or nine tenths of the pod's memory. */ -}}
{{- define "refresher.goMemLimit" -}}
{{- $given := .Values.goMemLimit -}}
{{- $limit := dig "limits" "memory" "" .Values.resources -}}
{{- if not $limit }}{{ $given }}{{ else -}}
{{- $bytes := include "refresher.bytes" (dict "name" "resources.limits.memory" "value" $limit) | int64 -}}
{{- if not $given }}{{ div (mul $bytes 9) 10485760 }}MiB{{ else -}}
{{- if ge (include "refresher.bytes" (dict "name" "goMemLimit" "value" (trimSuffix "B" $given)) | int64) $bytes }}{{ fail (printf "goMemLimit is %s, and resources.limits.memory %v: want less, or the pod is killed before memory is collected (or leave it empty)" $given $limit) }}{{ end -}}
{{- $given -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Values that would not work together, or not do what they seem to. */ -}}
{{- define "refresher.check" -}}
{{- $v := .Values -}}
{{- if and $v.agora.existingSecret $v.projects.existingSecret }}{{ fail "agora.existingSecret and projects.existingSecret are both set: want the Secret of one project, or that of several" }}{{ end -}}
{{- if not (or $v.agora.existingSecret $v.projects.existingSecret) }}{{ fail "agora.existingSecret is missing: name the Secret that has the App ID and the App Certificate (kubectl create secret generic agora --from-literal=app-id=… --from-literal=app-certificate=…)" }}{{ end -}}
{{- if and $v.agora.existingSecret (not (or $v.auth.existingSecret $v.auth.jwksURL $v.auth.publicKeyConfigMap)) }}{{ fail "auth: want existingSecret, jwksURL or publicKeyConfigMap: credentials must be checked with something" }}{{ end -}}
{{- if and $v.projects.existingSecret (or $v.auth.existingSecret $v.auth.jwksURL $v.auth.publicKeyConfigMap) }}{{ fail "auth is set beside projects.existingSecret, where each project has keys of its own: want one of the two" }}{{ end -}}
{{- if and (not $v.redis.existingSecret) (or $v.autoscaling.enabled (gt (int $v.replicas) 1)) }}{{ fail "redis.existingSecret is missing: more than one pod needs a Redis to share sessions in (or set replicas=1)" }}{{ end -}}
{{- if and $v.authorize.url (not $v.authorize.existingSecret) }}{{ fail "authorize.existingSecret is missing: name the Secret that has what signs the questions" }}{{ end -}}
{{- if and $v.events.url (not $v.events.existingSecret) }}{{ fail "events.existingSecret is missing: name the Secret that has what signs the events" }}{{ end -}}
{{- if and $v.autoscaling.enabled (not (or $v.autoscaling.sessionsPerPod $v.autoscaling.cpuPercent)) }}{{ fail "autoscaling: want sessionsPerPod, cpuPercent or both" }}{{ end -}}
{{- range $where, $labels := dict "podLabels" $v.podLabels "monitoring.serviceMonitor.labels" $v.monitoring.serviceMonitor.labels "monitoring.rules.labels" $v.monitoring.rules.labels "monitoring.dashboard.labels" $v.monitoring.dashboard.labels -}}
{{- range $own, $_ := include "refresher.labels" $ | fromYaml }}{{ if hasKey $labels $own }}{{ fail (printf "%s has %s, which is the chart's own: selectors find by it" $where $own) }}{{ end }}{{ end -}}
{{- end -}}
{{- range $v.extraEnv }}{{ if hasKey $v.settings .name }}{{ fail (printf "%s is in settings and in extraEnv: want one of the two" .name) }}{{ end }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}{{ fail "ingress.hosts is empty: want the host that clients connect to" }}{{ end -}}
{{- end }}
