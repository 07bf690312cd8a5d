{{/* Values that are each valid and cannot work together. Each message has what to change. */}}
{{- define "mfe.contradictions" -}}
{{- $config := .Values.config -}}
{{- $mode := .Values.autoscaling.mode -}}
{{- $tls := .Values.externalMetrics.tls -}}

{{- range list "web" "external_metrics" -}}
{{- $listen := (index $config .).listen -}}
{{- $host := regexReplaceAll ":[0-9]+$" $listen "" -}}
{{- if eq (include "mfe.port" $listen) "0" -}}
{{- fail (printf "config.%s.listen: port 0 changes with each start, and the Service needs a fixed port; set a port" .) -}}
{{- end -}}
{{- if or (hasPrefix "127." $host) (eq $host "localhost") (eq $host "[::1]") -}}
{{- fail (printf "config.%s.listen: %s cannot be reached from outside the pod; listen on 0.0.0.0 or [::]" . $host) -}}
{{- end -}}
{{- end -}}

{{- if and (gt (int .Values.replicaCount) 1) (include "mfe.leaderOnly" .) (not (include "mfe.elects" .)) -}}
{{- $missing := ternary "config.leader_election.enabled" "config.discovery.kubernetes.enabled" (not $config.leader_election.enabled) -}}
{{- fail (printf "replicaCount is %d without %s: no leader is elected, and each replica would do the work of %s; enable it or set replicaCount to 1" (int .Values.replicaCount) $missing (include "mfe.leaderOnly" .)) -}}
{{- end -}}
{{- $past := $config.forecast -}}
{{- if and $past.enabled (eq $past.source "prometheus") (not $past.prometheus_url) -}}
{{- fail "config.forecast.source is prometheus: the past is read from there; set config.forecast.prometheus_url" -}}
{{- end -}}
{{- if and $past.enabled (eq $past.source "cloudwatch") (not $config.cloudwatch.enabled) -}}
{{- fail "config.forecast.source is cloudwatch: the past is read from what is published; set config.cloudwatch.enabled to true" -}}
{{- end -}}
{{- if and $config.cloudwatch.enabled (not $config.cluster) -}}
{{- fail "config.cloudwatch.enabled: CloudWatch needs a name for its ClusterName dimension; set config.cluster" -}}
{{- end -}}
{{- if and $config.pod_logs.enabled (not $config.pod_logs.failure_pattern) -}}
{{- fail "config.pod_logs.enabled: nothing would be counted; set config.pod_logs.failure_pattern" -}}
{{- end -}}
{{- if not $config.discovery.kubernetes.enabled -}}
{{- range list "deletion_cost" "protection" "pod_logs" -}}
{{- if (index $config .).enabled -}}
{{- fail (printf "config.%s.enabled: this concerns pods; set config.discovery.kubernetes.enabled to true" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.web.tls.clientCertificates (not .Values.web.tls.secretName) -}}
{{- fail "web.tls.clientCertificates: client certificates need TLS; set its Secret in web.tls.secretName" -}}
{{- end -}}
{{- if and (eq .Values.prometheus.discovery "serviceMonitor") .Values.web.basicAuth.secretName (not .Values.prometheus.serviceMonitor.basicAuth) (not .Values.web.bearerToken.secretName) -}}
{{- fail "prometheus.discovery is serviceMonitor and web.basicAuth is on: Prometheus would be rejected; set its user in prometheus.serviceMonitor.basicAuth" -}}
{{- end -}}

{{- if $config.external_metrics.enabled -}}
{{- if eq (include "mfe.port" $config.web.listen) (include "mfe.port" $config.external_metrics.listen) -}}
{{- fail "config.external_metrics.listen: its port is already taken by config.web.listen; choose another one" -}}
{{- end -}}
{{- if and (eq $tls.source "secret") (not (and $tls.secretName $tls.caBundle)) -}}
{{- fail "externalMetrics.tls.source is secret: the API server requires TLS; name the certificate in externalMetrics.tls.secretName and its CA in externalMetrics.tls.caBundle, or choose the source generated or certManager" -}}
{{- end -}}
{{- if and (eq $tls.source "certManager") (not $tls.certManager.issuerRef.name) -}}
{{- fail "externalMetrics.tls.source is certManager: name the issuer in externalMetrics.tls.certManager.issuerRef, or choose the source generated or secret" -}}
{{- end -}}
{{- end -}}

{{- if and (ne $mode "none") (not .Values.autoscaling.fleets) -}}
{{- fail (printf "autoscaling.mode is %s but there is no fleet to scale: list fleets in autoscaling.fleets, or set the mode to none" $mode) -}}
{{- end -}}
{{- if and (eq $mode "externalMetrics") (not $config.external_metrics.enabled) -}}
{{- fail "autoscaling.mode is externalMetrics: the HPA would request metrics from an API that is not served; set config.external_metrics.enabled to true" -}}
{{- end -}}
{{- if and (hasPrefix "keda" $mode) $config.external_metrics.enabled -}}
{{- fail (printf "autoscaling.mode is %s: KEDA serves the external metrics API, which a cluster has once; set config.external_metrics.enabled to false, or the mode to externalMetrics where KEDA is not installed" $mode) -}}
{{- end -}}
{{- if and .Values.autoscaling.ahead (not $config.forecast.enabled) -}}
{{- fail "autoscaling.ahead: nothing is forecast, so it would only follow demand; set config.forecast.enabled to true, or autoscaling.ahead to false" -}}
{{- end -}}
{{- if eq $mode "kedaCloudWatch" -}}
{{- $metrics := default (list "default") $config.cloudwatch.metrics -}}
{{- if kindIs "string" $metrics }}{{ $metrics = list $metrics }}{{ end -}}
{{- if and .Values.autoscaling.ahead (not (or (has "all" $metrics) (has "DemandAheadTasks" $metrics))) -}}
{{- fail "autoscaling.ahead with the mode kedaCloudWatch: DemandAheadTasks would not be published; add it to config.cloudwatch.metrics, such as [default, DemandAheadTasks]" -}}
{{- end -}}
{{- if not $config.cloudwatch.enabled -}}
{{- fail "autoscaling.mode is kedaCloudWatch: nothing would be in CloudWatch; set config.cloudwatch.enabled to true" -}}
{{- end -}}
{{- if not (or .Values.autoscaling.keda.awsRegion $config.cloudwatch.region) -}}
{{- fail "autoscaling.mode is kedaCloudWatch: KEDA needs the region; set autoscaling.keda.awsRegion or config.cloudwatch.region" -}}
{{- end -}}
{{- if eq (include "mfe.keda216" .) "no" -}}
{{- fail "autoscaling.mode is kedaCloudWatch: this cluster's KEDA is older than 2.16; it would treat missing data as no work and shrink a fleet whose agents are unreachable; upgrade KEDA, or set the mode to kedaMetricsApi" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $mode "kedaMetricsApi") (or .Values.web.basicAuth.secretName .Values.web.bearerToken.secretName .Values.web.tls.clientCertificates) (not .Values.autoscaling.keda.authenticationRef.name) -}}
{{- fail "autoscaling.mode is kedaMetricsApi and the web port asks for credentials: KEDA would be rejected; name a TriggerAuthentication in autoscaling.keda.authenticationRef" -}}
{{- end -}}
{{- if and (eq $mode "kedaMetricsApi") .Values.web.tls.clientCertificates (or .Values.web.basicAuth.secretName .Values.web.bearerToken.secretName) -}}
{{- fail "autoscaling.mode is kedaMetricsApi: KEDA presents either a client certificate or a password or token; set web.tls.clientCertificates to false" -}}
{{- end -}}

{{- if and (eq (toString .Values.networkPolicy.agents.enabled) "true") (not (include "mfe.policyNamespaces" . | fromJsonArray)) -}}
{{- fail "networkPolicy.agents.enabled: the whole cluster is watched; set the agents' namespaces in networkPolicy.agents.namespaces" -}}
{{- end -}}

{{- if .Values.agentsDisruptionBudget.enabled -}}
{{- if not $config.discovery.kubernetes.enabled -}}
{{- fail "agentsDisruptionBudget.enabled: this concerns pods; set config.discovery.kubernetes.enabled to true" -}}
{{- end -}}
{{- if not (or .Values.agentsDisruptionBudget.fleets .Values.autoscaling.fleets) -}}
{{- fail "agentsDisruptionBudget.enabled: there is no fleet to make a budget for; list fleets in agentsDisruptionBudget.fleets or autoscaling.fleets" -}}
{{- end -}}
{{- end -}}
{{- end -}}
