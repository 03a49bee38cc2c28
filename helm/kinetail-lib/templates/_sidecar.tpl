{{/*
The sidecar. Each template takes a dict of root, the chart's own context ($), and sidecar, the values of the dependency. README.md shows
where each of them goes.
*/}}

{{/* "true" where the sidecar is an init container that goes on running, else nothing. */}}
{{- define "kinetail.sidecar.native" -}}
{{- $has := semverCompare ">=1.29.0-0" .root.Capabilities.KubeVersion.Version -}}
{{- $native := toString .sidecar.native -}}
{{- if and (eq $native "true") (not (semverCompare ">=1.28.0-0" .root.Capabilities.KubeVersion.Version)) -}}
{{- fail (printf "sidecar native: true, and Kubernetes %s has no native sidecars; use auto, or false" .root.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if or (eq $native "true") (and (eq $native "auto") $has) -}}true{{- end -}}
{{- end -}}

{{/* kinetail's configuration, as YAML. */}}
{{- define "kinetail.sidecar.config" -}}
{{- $config := deepCopy (.sidecar.config | default dict) -}}
{{- if not $config.sources -}}
{{- $_ := set $config "sources" (list (dict "name" "app" "paths" (list (printf "%s/*.log" (trimSuffix "/" .sidecar.logs.mountPath))))) -}}
{{- end -}}
{{- if not $config.state_dir -}}
{{- $_ := set $config "state_dir" "/var/lib/kinetail" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The pod's terminationGracePeriodSeconds. */}}
{{- define "kinetail.sidecar.terminationGracePeriodSeconds" -}}
{{- $timeout := dig "shutdown" "timeout" "25s" (.sidecar.config | default dict) -}}
{{- $own := add .sidecar.appGracePeriodSeconds (include "kinetail.seconds" $timeout | int64) 5 -}}
{{- if kindIs "invalid" .sidecar.terminationGracePeriodSeconds -}}
{{- $own -}}
{{- else -}}
{{- .sidecar.terminationGracePeriodSeconds | int64 -}}
{{- end -}}
{{- end -}}

{{/* The container, as an item of a list. */}}
{{- define "kinetail.sidecar.container" -}}
{{- $s := .sidecar -}}
{{- $config := include "kinetail.sidecar.config" . | fromYaml -}}
{{- $at := .at | default "kinetail-lib" -}}
{{- include "kinetail.check" (dict "at" $at "configAt" (printf "%s.config" $at) "streamAt" (printf "%s.config.kinesis.stream" $at)
      "config" $config "resources" $s.resources "reserved" (int64 $s.appGracePeriodSeconds)
      "gracePeriod" (include "kinetail.sidecar.terminationGracePeriodSeconds" .)) -}}
{{- /* Files are only read. A FIFO or a socket is made there, so that these need more. */ -}}
{{- $readOnly := true -}}
{{- range $config.sources -}}
{{- if or (eq (.type | default "file") "fifo") (dig "forward" "unix" "" .) }}{{ $readOnly = false }}{{ end -}}
{{- end -}}
{{- $logs := dict "name" $s.logs.volume "mountPath" $s.logs.mountPath -}}
{{- if $readOnly }}{{ $_ := set $logs "readOnly" true }}{{ end -}}
{{- $mounts := list $logs
      (dict "name" $s.state.volume "mountPath" $config.state_dir) -}}
{{- if $s.podInfo -}}
{{- $mounts = append $mounts (dict "name" "kinetail-podinfo" "mountPath" "/etc/podinfo" "readOnly" true) -}}
{{- end -}}
{{- $env := concat (list (dict "name" "KINETAIL_CONFIG" "value" (include "kinetail.sidecar.config" .))) ($s.env | default list) -}}
{{- include "kinetail.container" (dict "name" $s.name "image" $s.image "version" (include "kinetail.version" .) "config" $config
      "native" (include "kinetail.sidecar.native" .) "podEnv" $s.podInfo "env" $env "envFrom" $s.envFrom "probes" $s.probes "lifecycle" $s.lifecycle
      "resources" $s.resources "securityContext" $s.securityContext "volumeMounts" (concat $mounts ($s.extraVolumeMounts | default list))) -}}
{{- end -}}

{{/* The container where it belongs among the init containers, else nothing. */}}
{{- define "kinetail.sidecar.initContainers" -}}
{{- if include "kinetail.sidecar.native" . -}}
{{- include "kinetail.sidecar.container" . -}}
{{- end -}}
{{- end -}}

{{/* The container where it belongs among the containers, else nothing. */}}
{{- define "kinetail.sidecar.containers" -}}
{{- if not (include "kinetail.sidecar.native" .) -}}
{{- include "kinetail.sidecar.container" . -}}
{{- end -}}
{{- end -}}

{{/* The service's mount of the logs. */}}
{{- define "kinetail.sidecar.logsMount" -}}
- name: {{ .sidecar.logs.volume }}
  mountPath: {{ .sidecar.logs.mountPath }}
{{- end -}}

{{/* The pod's volumes. */}}
{{- define "kinetail.sidecar.volumes" -}}
{{- $s := .sidecar -}}
{{- $volumes := list -}}
{{- if $s.logs.create -}}
{{- $volumes = append $volumes (dict "name" $s.logs.volume "emptyDir" (dict "sizeLimit" $s.logs.sizeLimit)) -}}
{{- end -}}
{{- if $s.state.create -}}
{{- $volumes = append $volumes (dict "name" $s.state.volume "emptyDir" (dict "sizeLimit" $s.state.sizeLimit)) -}}
{{- end -}}
{{- if $s.podInfo -}}
{{- $items := list
      (dict "path" "labels" "fieldRef" (dict "fieldPath" "metadata.labels"))
      (dict "path" "annotations" "fieldRef" (dict "fieldPath" "metadata.annotations")) -}}
{{- $volumes = append $volumes (dict "name" "kinetail-podinfo" "downwardAPI" (dict "items" $items)) -}}
{{- end -}}
{{- if $volumes -}}
{{- toYaml $volumes -}}
{{- end -}}
{{- end -}}

{{/* The pod's security context: the group by which the agent reads what the service writes, whoever the service runs as. */}}
{{- define "kinetail.sidecar.podSecurityContext" -}}
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
{{- end -}}

{{/* Annotations for a Prometheus that looks for them. */}}
{{- define "kinetail.sidecar.podAnnotations" -}}
{{- if .sidecar.metrics.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ include "kinetail.adminPort" (.sidecar.config | default dict) | quote }}
prometheus.io/path: /metrics
{{- end -}}
{{- end -}}
