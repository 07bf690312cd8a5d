{{/* The fleets that get a disruption budget, as `{"fleets": [{name, namespace, selector}…]}` in JSON. The selector is that of the
agents, and the fleet's label: script runners carry the label, too. */}}
{{- define "mfe.budgetFleets" -}}
{{- $kubernetes := .Values.config.discovery.kubernetes -}}
{{- $key := ternary "agentsDisruptionBudget.fleets" "autoscaling.fleets" (gt (len .Values.agentsDisruptionBudget.fleets) 0) -}}
{{- $agents := include "mfe.discoverySelector" . | fromJson -}}
{{- $seen := dict -}}
{{- $fleets := list -}}
{{- range $index, $given := default .Values.autoscaling.fleets .Values.agentsDisruptionBudget.fleets -}}
{{- $where := printf "%s[%d] (%s)" $key $index $given.name -}}
{{- $namespace := include "mfe.fleetNamespace" (dict "root" $ "fleet" $given "where" $where) -}}
{{- $fleet := printf "%s/%s" $namespace $given.name -}}
{{- if hasKey $seen $fleet -}}
{{- fail (printf "%s: the fleet %s is already listed at %s; two budgets would make every eviction of its agents fail, remove one" $where $fleet (get $seen $fleet)) -}}
{{- end -}}
{{- $_ := set $seen $fleet $where -}}
{{- $selector := dict "matchLabels" (dict $kubernetes.fleet_label $given.name) "matchExpressions" $agents.matchExpressions -}}
{{- $fleets = append $fleets (dict "name" $given.name "namespace" $namespace "selector" $selector) -}}
{{- end -}}
{{- toJson (dict "fleets" $fleets) -}}
{{- end -}}

{{/* Fails where Helm sees another budget over a fleet's agents: with two over one pod every eviction of it fails. The agents are
those of the pods and of the Deployments that are there; a fleet that has neither yet cannot be compared. */}}
{{- define "mfe.otherBudgets" -}}
{{- range $fleet := (include "mfe.budgetFleets" . | fromJson).fleets -}}
{{- $agents := list -}}
{{- range (lookup "v1" "Pod" $fleet.namespace "").items -}}{{- $agents = append $agents .metadata.labels -}}{{- end -}}
{{- range (lookup "apps/v1" "Deployment" $fleet.namespace "").items -}}{{- $agents = append $agents .spec.template.metadata.labels -}}{{- end -}}
{{- range $budget := (lookup "policy/v1" "PodDisruptionBudget" $fleet.namespace "").items -}}
{{- $annotations := default dict $budget.metadata.annotations -}}
{{- $own := and (eq (get $annotations "meta.helm.sh/release-name") $.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") $.Release.Namespace) -}}
{{- /* A budget without a selector selects nothing, an empty selector everything. */ -}}
{{- if and (not $own) (kindIs "map" $budget.spec.selector) -}}
{{- range $labels := $agents -}}
{{- if and (include "mfe.selects" (dict "selector" $fleet.selector "labels" $labels)) (include "mfe.selects" (dict "selector" $budget.spec.selector "labels" $labels)) -}}
{{- fail (printf "agentsDisruptionBudget.enabled: the PodDisruptionBudget %s/%s already selects agents of the fleet %s, and with two over one pod every eviction fails; delete it (the vendor's chart makes one with podDisruptionBudget.enabled), or set agentsDisruptionBudget.enabled to false, or list only other fleets in agentsDisruptionBudget.fleets" $fleet.namespace $budget.metadata.name $fleet.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
