{{/* The Deployment that the vendor's chart makes for a fleet: <fullname>-app, where the fullname is the release's name if
that contains the chart's, else both, within 63 characters. */}}
{{- define "mfe.deployment" -}}
{{- $release := .fleet.name -}}
{{- if .fleet.deployment -}}
{{- .fleet.deployment -}}
{{- else if or (ne .label "app.kubernetes.io/instance") (not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $release)) -}}
{{- fail (printf "%s: a fleet of this name, found by the label %s, need not be a release of the vendor's chart, so the name of its Deployment is unknown; add deployment (kubectl -n %s get deployments -l %s=%s shows it)" .where .label .namespace .label $release) -}}
{{- else -}}
{{- $chart := default "matillion-runner" .fleet.chart -}}
{{- $fullname := ternary $release (printf "%s-%s" $release $chart) (contains $chart $release) -}}
{{- printf "%s-app" ($fullname | trunc 63 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* The namespace of a fleet that is listed at `where`: the given one, else the only one that is watched. */}}
{{- define "mfe.fleetNamespace" -}}
{{- $kubernetes := .root.Values.config.discovery.kubernetes -}}
{{- $watched := ternary $kubernetes.namespaces list $kubernetes.enabled -}}
{{- $namespace := default (ternary (first (append $watched "")) "" (eq (len $watched) 1)) .fleet.namespace -}}
{{- if not $namespace -}}
{{- fail (printf "%s: not exactly one namespace is watched; add the fleet's namespace" .where) -}}
{{- end -}}
{{- if and $watched (not (has $namespace $watched)) -}}
{{- fail (printf "%s: the namespace %s is not watched; add it to config.discovery.kubernetes.namespaces" .where $namespace) -}}
{{- end -}}
{{- $namespace -}}
{{- end -}}

{{/* The fleets to scale, with defaults filled in, as `{"fleets": […]}` in JSON. */}}
{{- define "mfe.fleets" -}}
{{- $pace := index (.Files.Get "files/paces.yaml" | fromYaml) .Values.autoscaling.pace -}}
{{- $seen := dict -}}
{{- $fleets := list -}}
{{- range $index, $given := .Values.autoscaling.fleets -}}
{{- $where := printf "autoscaling.fleets[%d] (%s)" $index $given.name -}}
{{- $namespace := include "mfe.fleetNamespace" (dict "root" $ "fleet" $given "where" $where) -}}
{{- $deployment := include "mfe.deployment" (dict "fleet" $given "where" $where "namespace" $namespace "label" $.Values.config.discovery.kubernetes.fleet_label) -}}
{{- $target := int (default $.Values.config.capacity.target_tasks_per_agent $given.target) -}}
{{- $most := max 1 (div (mul 10 (int $.Values.config.capacity.tasks_per_agent)) 11) -}}
{{- if gt $target (int $most) -}}
{{- fail (printf "%s: the target %d is too close to the %d tasks an agent runs at once: the HPA has a tolerance of 10%%, so a queue beside full agents could wait forever; at most %d" $where $target (int $.Values.config.capacity.tasks_per_agent) $most) -}}
{{- end -}}
{{- $min := int (default 2 $given.min) -}}
{{- if gt $min (int $given.max) -}}
{{- fail (printf "%s: min (%d) is more than max (%d); lower min or raise max" $where $min (int $given.max)) -}}
{{- end -}}
{{- range list (printf "the fleet %s/%s" $namespace $given.name) (printf "the Deployment %s/%s" $namespace $deployment) -}}
{{- if hasKey $seen . -}}
{{- fail (printf "%s: %s is already listed at %s; two scalers would work against each other; remove one" $where . (get $seen .)) -}}
{{- end -}}
{{- $_ := set $seen . $where -}}
{{- end -}}
{{- $fleets = append $fleets (dict "name" $given.name "namespace" $namespace "deployment" $deployment "min" $min "max" (int $given.max) "target" $target "behavior" (coalesce $given.behavior $.Values.autoscaling.behavior $pace)) -}}
{{- end -}}
{{- toJson (dict "fleets" $fleets) -}}
{{- end -}}

{{/* Whether KEDA is 2.16 or later: "yes", "no", or "" if Helm has no access to the cluster or finds no KEDA. It is recognized by an API that is
     new in 2.16 and required by the operator: unlike reading the operator's version, listing APIs needs no permission. */}}
{{- define "mfe.keda216" -}}
{{- $apis := .Capabilities.APIVersions -}}
{{- if $apis.Has "eventing.keda.sh/v1alpha1/ClusterCloudEventSource" -}}yes
{{- else if $apis.Has "keda.sh/v1alpha1/ScaledObject" -}}no
{{- end -}}
{{- end -}}

{{/* How KEDA authenticates on the web port; empty if that is not required. */}}
{{- define "mfe.kedaAuthMode" -}}
{{- if .Values.web.bearerToken.secretName -}}bearer
{{- else if .Values.web.basicAuth.secretName -}}basic
{{- else if .Values.web.tls.clientCertificates -}}tls
{{- end -}}
{{- end -}}

{{/* Name of the scaler of a fleet, and of its disruption budget. A fleet's name is a label's value, which takes more characters than an object's. */}}
{{- define "mfe.scalerName" -}}
{{- $name := regexReplaceAll "[^a-z0-9-]" (lower .name) "-" -}}
{{- printf "%s-fleet" (trunc 57 $name) -}}
{{- end -}}
