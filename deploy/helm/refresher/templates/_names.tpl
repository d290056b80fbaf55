{{- define "refresher.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}{{ else -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $chart .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $chart | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "refresher.selector" -}}
app.kubernetes.io/name: refresher
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "refresher.labels" -}}
{{- include "refresher.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "refresher.ownLabels" -}}
{{ include "refresher.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* The annotations of one object, and those of all: (list . annotations). */ -}}
{{- define "refresher.annotations" -}}
{{- with merge (dict) (index . 1) (index . 0).Values.commonAnnotations -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "refresher.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "refresher.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{- /* The files of a pod, in /etc/refresher: the kind of object each is from, that object's
name and key, and the setting that names the file. */ -}}
{{- define "refresher.files" -}}
{{- $v := .Values -}}
{{- $files := list -}}
{{- if $v.agora.existingSecret -}}
{{- $files = append $files (dict "env" "REFRESHER_APP_CERTIFICATE_FILE" "kind" "secret" "from" $v.agora.existingSecret "key" $v.agora.certificateKey "path" "app-certificate") -}}
{{- else -}}
{{- $files = append $files (dict "env" "REFRESHER_PROJECTS_FILE" "kind" "secret" "from" $v.projects.existingSecret "key" $v.projects.key "path" "projects.yaml") -}}
{{- end -}}
{{- with $v.auth -}}
{{- if .existingSecret -}}
{{- $files = append $files (dict "env" "REFRESHER_JWT_SECRET_FILE" "kind" "secret" "from" .existingSecret "key" .jwtSecretKey "path" "jwt-secret") -}}
{{- if .jwtPreviousSecretKey }}{{ $files = append $files (dict "env" "REFRESHER_JWT_PREVIOUS_SECRET_FILE" "kind" "secret" "from" .existingSecret "key" .jwtPreviousSecretKey "path" "jwt-previous-secret") }}{{ end -}}
{{- end -}}
{{- if .publicKeyConfigMap }}{{ $files = append $files (dict "env" "REFRESHER_JWT_PUBLIC_KEY_FILE" "kind" "configMap" "from" .publicKeyConfigMap "key" .publicKeyKey "path" "jwt-public.pem") }}{{ end -}}
{{- end -}}
{{- with $v.sessionSecret }}{{ if .existingSecret -}}
{{- $files = append $files (dict "env" "REFRESHER_SESSION_SECRET_FILE" "kind" "secret" "from" .existingSecret "key" .key "path" "session-secret") -}}
{{- if .previousKey }}{{ $files = append $files (dict "env" "REFRESHER_PREVIOUS_SESSION_SECRET_FILE" "kind" "secret" "from" .existingSecret "key" .previousKey "path" "previous-session-secret") }}{{ end -}}
{{- end }}{{ end -}}
{{- with $v.redis -}}
{{- if .existingSecret }}{{ $files = append $files (dict "env" "REFRESHER_REDIS_URL_FILE" "kind" "secret" "from" .existingSecret "key" .key "path" "redis-url") }}{{ end -}}
{{- if .caConfigMap }}{{ $files = append $files (dict "env" "REFRESHER_REDIS_CA_FILE" "kind" "configMap" "from" .caConfigMap "key" .caKey "path" "redis-ca.pem") }}{{ end -}}
{{- if .clientSecret -}}
{{- $files = append $files (dict "env" "REFRESHER_REDIS_CERT_FILE" "kind" "secret" "from" .clientSecret "key" "tls.crt" "path" "redis-client.crt") -}}
{{- $files = append $files (dict "env" "REFRESHER_REDIS_KEY_FILE" "kind" "secret" "from" .clientSecret "key" "tls.key" "path" "redis-client.key") -}}
{{- end -}}
{{- end -}}
{{- if $v.authorize.url }}{{ $files = append $files (dict "env" "REFRESHER_AUTHORIZE_SECRET_FILE" "kind" "secret" "from" $v.authorize.existingSecret "key" $v.authorize.key "path" "authorize-secret") }}{{ end -}}
{{- if and $v.authorize.url $v.authorize.previousKey }}{{ $files = append $files (dict "env" "REFRESHER_AUTHORIZE_PREVIOUS_SECRET_FILE" "kind" "secret" "from" $v.authorize.existingSecret "key" $v.authorize.previousKey "path" "authorize-previous-secret") }}{{ end -}}
{{- if $v.events.url }}{{ $files = append $files (dict "env" "REFRESHER_EVENTS_SECRET_FILE" "kind" "secret" "from" $v.events.existingSecret "key" $v.events.key "path" "events-secret") }}{{ end -}}
{{- if and $v.events.url $v.events.previousKey }}{{ $files = append $files (dict "env" "REFRESHER_EVENTS_PREVIOUS_SECRET_FILE" "kind" "secret" "from" $v.events.existingSecret "key" $v.events.previousKey "path" "events-previous-secret") }}{{ end -}}
{{- if $v.tls.existingSecret -}}
{{- $files = append $files (dict "env" "REFRESHER_TLS_CERT_FILE" "kind" "secret" "from" $v.tls.existingSecret "key" "tls.crt" "path" "tls.crt") -}}
{{- $files = append $files (dict "env" "REFRESHER_TLS_KEY_FILE" "kind" "secret" "from" $v.tls.existingSecret "key" "tls.key" "path" "tls.key") -}}
{{- end -}}
{{- if $v.caBundle.configMap }}{{ $files = append $files (dict "kind" "configMap" "from" $v.caBundle.configMap "key" $v.caBundle.key "path" "ca/ca.pem") }}{{ end -}}
{{- toYaml $files -}}
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
{{- if and $v.authorize.url (not $v.authorize.existingSecret) }}{{ fail "authorize.existingSecret is missing: name the Secret with the key that signs approval requests" }}{{ end -}}
{{- if and $v.events.url (not $v.events.existingSecret) }}{{ fail "events.existingSecret is missing: name the Secret with the key that signs events" }}{{ end -}}
{{- if and $v.autoscaling.enabled (not (or $v.autoscaling.sessionsPerPod $v.autoscaling.cpuPercent $v.autoscaling.metrics)) }}{{ fail "autoscaling: want sessionsPerPod, cpuPercent, metrics, or several of them" }}{{ end -}}
{{- range $where, $labels := dict "commonLabels" $v.commonLabels "podLabels" $v.podLabels "service.labels" $v.service.labels "monitoring.serviceMonitor.labels" $v.monitoring.serviceMonitor.labels "monitoring.rules.labels" $v.monitoring.rules.labels "monitoring.dashboard.labels" $v.monitoring.dashboard.labels -}}
{{- range $own, $_ := include "refresher.ownLabels" $ | fromYaml }}{{ if hasKey $labels $own }}{{ fail (printf "%s has %s, which is the chart's own: selectors find by it" $where $own) }}{{ end }}{{ end -}}
{{- end -}}
{{- range $v.extraEnv }}{{ if hasKey $v.settings .name }}{{ fail (printf "%s is in settings and in extraEnv: want one of the two" .name) }}{{ end }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is empty: want the Gateway that clients reach, [{name: …, namespace: …}]" }}{{ end -}}
{{- range $v.extraVolumes }}{{ if eq .name "config" }}{{ fail "extraVolumes has config, which is the chart's own: want another name" }}{{ end }}{{ end -}}
{{- range $v.extraVolumeMounts }}{{ if hasPrefix "/etc/refresher" .mountPath }}{{ fail (printf "extraVolumeMounts has %s: /etc/refresher is the chart's own, want another place" .mountPath) }}{{ end }}{{ end -}}
{{- if and (eq $v.service.type "ClusterIP") (or $v.service.nodePort $v.service.loadBalancerClass $v.service.loadBalancerSourceRanges $v.service.externalTrafficPolicy) }}{{ fail "service.type is ClusterIP: nodePort, loadBalancerClass, loadBalancerSourceRanges and externalTrafficPolicy want NodePort or LoadBalancer" }}{{ end -}}
{{- if and (ne $v.service.type "LoadBalancer") (or $v.service.loadBalancerClass $v.service.loadBalancerSourceRanges) }}{{ fail "service.loadBalancerClass and loadBalancerSourceRanges want service.type LoadBalancer" }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}{{ fail "ingress.hosts is empty: want the host that clients connect to" }}{{ end -}}
{{- end }}
