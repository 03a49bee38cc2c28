{{- define "kinetail.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for what is put behind it: names of pods have 63 characters, with 20 of Kubernetes' own. */}}
{{- define "kinetail.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "kinetail.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kinetail.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select; a dict of root and component. */}}
{{- define "kinetail.selector" -}}
app.kubernetes.io/name: {{ include "kinetail.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels; a dict of root and component. */}}
{{- define "kinetail.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "kinetail.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: without what changes with each version of the chart, so that an upgrade alone restarts nothing. */}}
{{- define "kinetail.podLabels" -}}
{{ include "kinetail.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kinetail.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "kinetail.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The agent's configuration, as YAML. */}}
{{- define "kinetail.agent.config" -}}
{{- $config := deepCopy .Values.agent.config -}}
{{- if not $config.sources -}}
{{- $exclude := list (printf "/var/log/pods/%s_%s-*_*/*/*.log" .Release.Namespace (include "kinetail.agent.name" .)) -}}
{{- range .Values.agent.excludeNamespaces -}}
{{- $exclude = append $exclude (printf "/var/log/pods/%s_*/*/*.log" .) -}}
{{- end -}}
{{- $own := deepCopy .Values.agent.source -}}
{{- $made := dict "name" "pods" "paths" (list "/var/log/pods/*/*/*.log") "format" "auto" -}}
{{- $source := mergeOverwrite $made $own -}}
{{- $_ := set $source "exclude" (concat $exclude ($own.exclude | default list)) -}}
{{- $_ := set $config "sources" (list $source) -}}
{{- end -}}
{{- $_ := set $config "kinesis" .Values.kinesis -}}
{{- $_ := set $config "state_dir" "/var/lib/kinetail" -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "kinetail.agent.name" -}}
{{ include "kinetail.fullname" . }}-agent
{{- end -}}

{{- define "kinetail.agent.stateHostPath" -}}
{{- .Values.agent.state.hostPath | default (printf "/var/lib/kinetail-%s-%s" .Release.Namespace (include "kinetail.fullname" .)) -}}
{{- end -}}

{{/* The values of a sidecar of the demonstration; a dict of root and source, what is added to its events. */}}
{{- define "kinetail.demo.sidecar" -}}
{{- $root := .root -}}
{{- $endpoint := printf "http://%s-demo-stream:4567" (include "kinetail.fullname" $root) -}}
{{- $logs := dig "logs" "mountPath" "/var/log/app" $root.Values.sidecar -}}
{{- $config := dict
      "kinesis" (dict "stream" "demo" "region" "us-east-1" "endpoint" $endpoint)
      "sources" (list (dict "name" "app" "paths" (list (printf "%s/*.log" $logs)) "parse" "json" "add" (dict "metadata" (list "kubernetes.namespace" "kubernetes.pod_name")))) -}}
{{- $env := list (dict "name" "AWS_ACCESS_KEY_ID" "value" "demo") (dict "name" "AWS_SECRET_ACCESS_KEY" "value" "demo") -}}
{{- $sidecar := deepCopy $root.Values.sidecar -}}
{{- $_ := set $sidecar "config" (mergeOverwrite $config ($sidecar.config | default dict)) -}}
{{- $_ := set $sidecar "env" (concat $env ($sidecar.env | default list)) -}}
{{- $_ := set $sidecar "image" (mergeOverwrite (deepCopy $root.Values.image) (dict "tag" ($root.Values.image.tag | default $root.Chart.AppVersion))) -}}
{{- $_ := unset $sidecar "global" -}}
{{- toYaml $sidecar -}}
{{- end -}}

{{/* What the restricted standard asks of a container. */}}
{{- define "kinetail.demo.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kinetail.injector.name" -}}
{{ include "kinetail.fullname" . }}-injector
{{- end -}}

{{/* The secret with the injector's certificate. */}}
{{- define "kinetail.injector.secretName" -}}
{{- if eq .Values.injector.certificates.mode "own" -}}
{{ .Values.injector.certificates.secretName }}
{{- else -}}
{{ include "kinetail.injector.name" . }}-tls
{{- end -}}
{{- end -}}

{{/* Namespaces whose pods get nothing, as JSON. */}}
{{- define "kinetail.injector.excluded" -}}
{{- prepend .Values.injector.excludeNamespaces .Release.Namespace | uniq | toJson -}}
{{- end -}}

{{/* The port of an address. */}}
{{- define "kinetail.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/*
The injector's configuration, as YAML. Its sidecars are the library's, by the same values; what was removed from them with null has to stay
removed.
*/}}
{{- define "kinetail.injector.config" -}}
{{- $native := include "kinetail.sidecar.native" (dict "root" . "sidecar" .Values.sidecar) -}}
{{- $sidecar := deepCopy .Values.sidecar -}}
{{- $config := $sidecar.config | default dict -}}
{{- if or .Values.kinesis $config.kinesis -}}
{{- $_ := set $config "kinesis" (mergeOverwrite (deepCopy .Values.kinesis) ($config.kinesis | default dict)) -}}
{{- end -}}
{{- $_ := set $sidecar "config" $config -}}
{{- $_ := set $sidecar "image" (mergeOverwrite (deepCopy .Values.image) (dict "tag" (.Values.image.tag | default .Chart.AppVersion))) -}}
{{- $_ := unset $sidecar "global" -}}
{{- toYaml (dict "policy" .Values.injector.policy "exclude" (include "kinetail.injector.excluded" . | fromJsonArray)
      "kubernetes" .Capabilities.KubeVersion.Version "sidecar" $sidecar "log" .Values.injector.log) -}}
{{- end -}}
