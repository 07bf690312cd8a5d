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

{{/* The port of a `host:port` to listen on. */}}
{{- define "mfe.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- define "mfe.scheme" -}}
{{- ternary "https" "http" (ne .Values.web.tls.secretName "") -}}
{{- end -}}

{{/* What can only be done with the API server; empty for an exporter that only reads listed addresses. */}}
{{- define "mfe.usesKubernetes" -}}
{{- $config := .Values.config -}}
{{- if or $config.discovery.kubernetes.enabled $config.external_metrics.enabled -}}true{{- end -}}
{{- end -}}

{{/* The features that only one replica may carry out, in words; empty for none. */}}
{{- define "mfe.leaderOnly" -}}
{{- $names := list -}}
{{- range list "cloudwatch" "deletion_cost" "pod_logs" -}}
{{- if (index $.Values.config .).enabled -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- join ", " $names -}}
{{- end -}}

{{/* Whether the replicas elect a leader: only for what needs one, and only where there is an API server to do it by. */}}
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

{{/* The fleets to scale with everything that may be left out filled in, as `{"fleets": […]}` in JSON. */}}
{{- define "mfe.fleets" -}}
{{- $watched := ternary .Values.config.discovery.kubernetes.namespaces list .Values.config.discovery.kubernetes.enabled -}}
{{- $seen := dict -}}
{{- $fleets := list -}}
{{- range $index, $given := .Values.autoscaling.fleets -}}
{{- $where := printf "autoscaling.fleets[%d] (%s)" $index $given.name -}}
{{- $namespace := default (ternary (first (append $watched "")) "" (eq (len $watched) 1)) $given.namespace -}}
{{- if not $namespace -}}
{{- fail (printf "%s: not exactly one namespace is watched, so say in which one the fleet is: add namespace" $where) -}}
{{- end -}}
{{- if and $watched (not (has $namespace $watched)) -}}
{{- fail (printf "%s: the namespace %s is not watched; add it to config.discovery.kubernetes.namespaces" $where $namespace) -}}
{{- end -}}
{{- if not $given.deployment -}}
{{- fail (printf "%s: a scaler needs the Deployment to scale; add deployment (kubectl -n %s get deployments -l %s=%s shows its name)" $where $namespace $.Values.config.discovery.kubernetes.fleet_label $given.name) -}}
{{- end -}}
{{- $target := int (default $.Values.config.capacity.target_tasks_per_agent $given.target) -}}
{{- if gt $target (int $.Values.config.capacity.tasks_per_agent) -}}
{{- fail (printf "%s: the target %d is more than an agent runs at once; at most config.capacity.tasks_per_agent (%d)" $where $target (int $.Values.config.capacity.tasks_per_agent)) -}}
{{- end -}}
{{- $min := int (default 2 $given.min) -}}
{{- if gt $min (int $given.max) -}}
{{- fail (printf "%s: min (%d) is more than max (%d); lower min or raise max" $where $min (int $given.max)) -}}
{{- end -}}
{{- range list (printf "the fleet %s/%s" $namespace $given.name) (printf "the Deployment %s/%s" $namespace $given.deployment) -}}
{{- if hasKey $seen . -}}
{{- fail (printf "%s: %s already stands at %s; two scalers would work against each other, take one out" $where . (get $seen .)) -}}
{{- end -}}
{{- $_ := set $seen . $where -}}
{{- end -}}
{{- $fleets = append $fleets (dict "name" $given.name "namespace" $namespace "deployment" $given.deployment "min" $min "max" (int $given.max) "target" $target "behavior" (default $.Values.autoscaling.behavior $given.behavior)) -}}
{{- end -}}
{{- toJson (dict "fleets" $fleets) -}}
{{- end -}}

{{/* How KEDA shows who it is on the web port; empty where nobody asks. */}}
{{- define "mfe.kedaAuthMode" -}}
{{- if .Values.web.bearerToken.secretName -}}bearer
{{- else if .Values.web.basicAuth.secretName -}}basic
{{- else if .Values.web.tls.clientCertificates -}}tls
{{- end -}}
{{- end -}}

{{/* Name of the scaler of a fleet. A fleet's name is a label's value, which takes more characters than an object's. */}}
{{- define "mfe.scalerName" -}}
{{- $name := regexReplaceAll "[^a-z0-9-]" (lower .name) "-" -}}
{{- printf "%s-fleet" (trunc 57 $name) -}}
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

{{/* Namespaces in which the agents' ports are opened, as a JSON list. */}}
{{- define "mfe.policyNamespaces" -}}
{{- $watched := ternary .Values.config.discovery.kubernetes.namespaces list .Values.config.discovery.kubernetes.enabled -}}
{{- default $watched .Values.networkPolicy.agents.namespaces | toJson -}}
{{- end -}}

{{/* Labels of the agents' pods for a NetworkPolicy, from the selector that finds them. */}}
{{- define "mfe.agentLabels" -}}
{{- if .Values.networkPolicy.agents.podLabels -}}
{{- toYaml .Values.networkPolicy.agents.podLabels -}}
{{- else -}}
{{- $selector := .Values.config.discovery.kubernetes.label_selector -}}
{{- $labels := dict -}}
{{- range splitList "," $selector -}}
{{- if not (regexMatch "^ *[^ =!]+ *==? *[^ =!]+ *$" .) -}}
{{- fail (printf "networkPolicy.agents.enabled: a NetworkPolicy cannot be made of the selector %q; give the labels of the agents' pods in networkPolicy.agents.podLabels" $selector) -}}
{{- end -}}
{{- $_ := set $labels (regexFind "[^ =]+" .) (regexFind "[^ =]+ *$" . | trim) -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}
{{- end -}}
