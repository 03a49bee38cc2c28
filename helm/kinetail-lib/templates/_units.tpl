{{/*
Sizes and times: kinetail's and Kubernetes', as whole numbers that can be compared. What these do not understand is left to the schema
and to kinetail itself: it becomes 0, and 0 refuses nothing.
*/}}

{{/* Milliseconds of a time such as 25s, 500ms or "1m 30s". */}}
{{- define "kinetail.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+ *[a-zA-Z]+" (toString .) -1 -}}
{{- $n := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-zA-Z]+$" . -}}
{{- $factor := 0 -}}
{{- if regexMatch "^(ms|msec|millis)$" $unit }}{{ $factor = 1 }}
{{- else if regexMatch "^(s|sec|secs|second|seconds)$" $unit }}{{ $factor = 1000 }}
{{- else if regexMatch "^(m|min|mins|minute|minutes)$" $unit }}{{ $factor = 60000 }}
{{- else if regexMatch "^(h|hr|hrs|hour|hours)$" $unit }}{{ $factor = 3600000 }}
{{- end -}}
{{- $sum = add $sum (mul $n $factor) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Seconds of a time, rounded up. */}}
{{- define "kinetail.seconds" -}}
{{- div (add (include "kinetail.milliseconds" . | int64) 999) 1000 -}}
{{- end -}}

{{/* Bytes of a size, whether it is kinetail's (12MiB, 12 MB, 1048576) or a quantity of Kubernetes' (64Mi, 64M). */}}
{{- define "kinetail.bytes" -}}
{{- $text := . -}}
{{- if or (kindIs "float64" .) (kindIs "int64" .) (kindIs "int" .) }}{{ $text = int64 . | toString }}{{ end -}}
{{- $n := regexFind "^[0-9]+(\\.[0-9]+)?" $text | default "0" | float64 -}}
{{- $unit := regexReplaceAll "^[0-9.]+ *" $text "" | lower | trimSuffix "b" -}}
{{- $factor := 0 -}}
{{- if eq $unit "" }}{{ $factor = 1 }}
{{- else if eq $unit "k" }}{{ $factor = 1000 }}
{{- else if eq $unit "ki" }}{{ $factor = 1024 }}
{{- else if eq $unit "m" }}{{ $factor = 1000000 }}
{{- else if eq $unit "mi" }}{{ $factor = 1048576 }}
{{- else if eq $unit "g" }}{{ $factor = 1000000000 }}
{{- else if eq $unit "gi" }}{{ $factor = 1073741824 }}
{{- end -}}
{{- mulf $n $factor | int64 -}}
{{- end -}}
