{{/* Names and labels. Objects with a suffix must stay within 63 characters, so the name itself within 40. */}}
{{- define "mfe.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "mfe.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of an object that belongs to no namespace. */}}
{{- define "mfe.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "mfe.fullname" .) -}}
{{- end -}}

{{- define "mfe.externalMetricsName" -}}
{{- printf "%s-external-metrics" (include "mfe.fullname" .) -}}
{{- end -}}

{{- define "mfe.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mfe.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: name the service account to use in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mfe.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "mfe.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "mfe.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: matillion-fleet-exporter
{{- end -}}

{{- define "mfe.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mfe.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end -}}

{{/* The port of a `host:port`. */}}
{{- define "mfe.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- define "mfe.scheme" -}}
{{- ternary "https" "http" (ne .Values.web.tls.secretName "") -}}
{{- end -}}

{{/* Where people find the status page and the runbooks: an address of theirs, or the Service within the cluster. */}}
{{- define "mfe.pageUrl" -}}
{{- $service := printf "%s://%s.%s.svc:%v" (include "mfe.scheme" .) (include "mfe.fullname" .) .Release.Namespace .Values.service.port -}}
{{- default $service .Values.config.web.external_url | trimSuffix "/" -}}
{{- end -}}

{{/* Whether the exporter needs the API server; empty if it only scrapes static targets. */}}
{{- define "mfe.usesKubernetes" -}}
{{- $config := .Values.config -}}
{{- if or $config.discovery.kubernetes.enabled $config.external_metrics.enabled -}}true{{- end -}}
{{- end -}}

{{/* The features that only one replica may carry out, in words; empty for none. */}}
{{- define "mfe.leaderOnly" -}}
{{- $names := list -}}
{{- range list "cloudwatch" "deletion_cost" "protection" "pod_logs" -}}
{{- if (index $.Values.config .).enabled -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- with $.Values.config.forecast -}}
{{- if and .enabled (eq .source "self") -}}{{- $names = append $names "forecast" -}}{{- end -}}
{{- end -}}
{{- join ", " $names -}}
{{- end -}}

{{/* Whether the replicas elect a leader: only for features that need one, and only with an API server. */}}
{{- define "mfe.elects" -}}
{{- $config := .Values.config -}}
{{- if and $config.leader_election.enabled $config.discovery.kubernetes.enabled (include "mfe.leaderOnly" .) -}}true{{- end -}}
{{- end -}}

{{/* The exporter's settings: those of the values, and those that must fit the objects of this chart. */}}
{{- define "mfe.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not $config.leader_election.lease_name -}}
{{- $_ := set $config.leader_election "lease_name" (include "mfe.fullname" .) -}}
{{- end -}}
{{- if $config.external_metrics.enabled -}}
{{- $_ := set $config.external_metrics "cert_file" "/etc/fleet-exporter/external-metrics-tls/tls.crt" -}}
{{- $_ := set $config.external_metrics "key_file" "/etc/fleet-exporter/external-metrics-tls/tls.key" -}}
{{- end -}}
{{- if $config.cloudwatch.enabled -}}
{{- $spool := default dict $config.cloudwatch.spool -}}
{{- $_ := set $config.cloudwatch "spool" (merge (dict "path" "/var/lib/fleet-exporter/spool.db") $spool) -}}
{{- if not $config.web.history_file -}}
{{- $_ := set $config.web "history_file" "/var/lib/fleet-exporter/page-history" -}}
{{- end -}}
{{- end -}}
{{- with .Values.web -}}
{{- if .tls.secretName -}}
{{- $tls := dict "cert_file" "/etc/fleet-exporter/web-tls/tls.crt" "key_file" "/etc/fleet-exporter/web-tls/tls.key" -}}
{{- if .tls.clientCertificates -}}
{{- $_ := set $tls "client_ca_file" "/etc/fleet-exporter/web-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $config.web "tls" $tls -}}
{{- end -}}
{{- if .basicAuth.secretName -}}
{{- $_ := set $config.web "basic_auth" (dict "users_file" "/etc/fleet-exporter/basic-auth/users") -}}
{{- end -}}
{{- if .bearerToken.secretName -}}
{{- $_ := set $config.web "bearer_token_file" "/etc/fleet-exporter/bearer-token/token" -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Security posture: the restricted Pod Security Standard, and a root filesystem that cannot be written. */}}
{{- define "mfe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
fsGroup: 65534
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "mfe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The exporter as the subject of a binding. */}}
{{- define "mfe.subject" -}}
- kind: ServiceAccount
  name: {{ include "mfe.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "mfe.externalMetricsSecret" -}}
{{- if eq .Values.externalMetrics.tls.source "secret" -}}
{{- .Values.externalMetrics.tls.secretName -}}
{{- else -}}
{{- printf "%s-tls" (include "mfe.externalMetricsName" .) -}}
{{- end -}}
{{- end -}}
