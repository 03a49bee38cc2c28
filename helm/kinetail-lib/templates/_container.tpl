{{/*
What every container of kinetail has, be it a sidecar or a node's agent, and what is refused before anything is installed.
*/}}

{{/* image: a dict of repository, tag and digest; version: what the tag is by default. */}}
{{- define "kinetail.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end -}}
{{- end -}}

{{/* The version that this library was made for: that of its Chart.yaml. tests/helm/run.py holds them together. */}}
{{- define "kinetail.version" -}}0.1.0{{- end -}}

{{/* The port of the admin server of a configuration. */}}
{{- define "kinetail.adminPort" -}}
{{- $listen := dig "admin" "listen" "0.0.0.0:9464" . -}}
{{- regexFind "[0-9]+$" $listen | default "9464" -}}
{{- end -}}

{{/*
Refuses what cannot work: at is the values' path for messages, config kinetail's configuration, resources those of the container, gracePeriod
the pod's, reserved the seconds of it that are not kinetail's.
*/}}
{{- define "kinetail.check" -}}
{{- $kinesis := .config.kinesis | default dict -}}
{{- if not (or $kinesis.stream $kinesis.stream_arn) -}}
{{- fail (printf "%s: there is no stream to send to; set %s to its name, or stream_arn beside it to its ARN" .at .streamAt) -}}
{{- end -}}
{{- if and $kinesis.stream $kinesis.stream_arn -}}
{{- fail (printf "%s: both stream and stream_arn are set, and either says all; leave one of them out" .streamAt) -}}
{{- end -}}
{{- $listen := dig "admin" "listen" "0.0.0.0:9464" .config -}}
{{- if or (eq $listen "off") (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) -}}
{{- fail (printf "%s.admin.listen is %s: probes and Prometheus could not reach kinetail; use 0.0.0.0:9464, or [::]:9464 with IPv6" .configAt $listen) -}}
{{- end -}}
{{- $timeout := dig "shutdown" "timeout" "25s" .config -}}
{{- $needed := add (include "kinetail.seconds" $timeout | int64) 5 (.reserved | default 0) -}}
{{- if lt (.gracePeriod | int64) $needed -}}
{{- $of := ternary (printf ", %d seconds of the service's own (appGracePeriodSeconds)" (.reserved | int64)) "" (gt (.reserved | default 0 | int64) 0) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, less than the %d that a stop can take: %s.shutdown.timeout of %s%s, and 5 for the last checkpoint; make it longer, or the timeout shorter" .at (.gracePeriod | int64) $needed .configAt $timeout $of) -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" (.resources | default dict) -}}
{{- if $limit -}}
{{- $budget := dig "memory_limit" "12MiB" .config -}}
{{- $bytes := include "kinetail.bytes" $limit | int64 -}}
{{- $rest := 16777216 -}}
{{- if and (gt $bytes 0) (lt $bytes (add (include "kinetail.bytes" $budget | int64) $rest)) -}}
{{- fail (printf "%s.resources.limits.memory is %v, and %s.memory_limit of %v with 16MiB for the process itself does not fit; raise the one or lower the other" .at $limit .configAt $budget) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A probe: probe is a dict of its times, path what is asked. A handler of the user's own counts more. */}}
{{- define "kinetail.probe" -}}
{{- if or .probe.httpGet .probe.tcpSocket .probe.exec -}}
{{- toYaml .probe -}}
{{- else -}}
{{- merge (dict "httpGet" (dict "path" .path "port" "metrics")) .probe | toYaml -}}
{{- end -}}
{{- end -}}

{{/* Who and where the pod is, for add.metadata. */}}
{{- define "kinetail.podEnv" -}}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "POD_IP" "status.podIP" "NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- end -}}

{{/*
The container, as an item of a list. name, image, version, config, probes, resources, securityContext, env, envFrom; args after `run`;
podEnv: whether it is told of its pod; volumeMounts: a list.
*/}}
{{- define "kinetail.container" -}}
- name: {{ .name }}
  image: {{ include "kinetail.image" . | quote }}
  imagePullPolicy: {{ .image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always
  {{- end }}
  args: {{ concat (list "run") (.args | default list) | toJson }}
  {{- if or .podEnv .env }}
  env:
    {{- if .podEnv }}
    {{- include "kinetail.podEnv" . | trim | nindent 4 }}
    {{- end }}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with .envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: metrics
      containerPort: {{ include "kinetail.adminPort" .config }}
      protocol: TCP
  {{- $probes := .probes | default dict }}
  {{- if kindIs "map" $probes.startup }}
  startupProbe:
    {{- include "kinetail.probe" (dict "probe" $probes.startup "path" "/livez") | nindent 4 }}
  {{- end }}
  {{- if kindIs "map" $probes.liveness }}
  livenessProbe:
    {{- include "kinetail.probe" (dict "probe" $probes.liveness "path" "/livez") | nindent 4 }}
  {{- end }}
  {{- if kindIs "map" $probes.readiness }}
  readinessProbe:
    {{- include "kinetail.probe" (dict "probe" $probes.readiness "path" "/readyz") | nindent 4 }}
  {{- end }}
  {{- with .lifecycle }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    {{- toYaml .volumeMounts | nindent 4 }}
{{- end -}}
