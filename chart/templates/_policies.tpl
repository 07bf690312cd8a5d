{{/* The agents' pods as the podSelector of a NetworkPolicy, in JSON: from the labels that are given, else from the text of the
selector that finds them. */}}
{{- define "mfe.agentSelector" -}}
{{- with .Values.networkPolicy.agents.podLabels -}}
{{- toJson (dict "matchLabels" .) -}}
{{- else -}}
{{- include "mfe.discoverySelector" . -}}
{{- end -}}
{{- end -}}

{{/* The text of the selector that finds the agents as a LabelSelector, in JSON. exporter/kube/selector.py reads the same grammar. */}}
{{- define "mfe.discoverySelector" -}}
{{- $text := .Values.config.discovery.kubernetes.label_selector -}}
{{- $name := `[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?` -}}
{{- $key := printf `((?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?%s)` $name -}}
{{- $value := printf `(?:%s)?` $name -}}
{{- $set := printf `%s\s+(in|notin)\s*\(\s*(%s(?:\s*,\s*%s)*)\s*\)` $key $value $value -}}
{{- $equal := printf `%s\s*(==?|!=)\s*(%s)` $key $value -}}
{{- $absent := printf `!\s*%s` $key -}}
{{- $one := printf `\s*(?:%s|%s|%s|%s)\s*` $set $equal $absent $key -}}
{{- if not (regexMatch (printf `^%s(?:,%s)*$` $one $one) $text) -}}
{{- fail (printf "config.discovery.kubernetes.label_selector: %q is not a label selector; write requirements joined by commas: key=value, key!=value, key in (a,b), key notin (a,b), key, !key" $text) -}}
{{- else -}}
{{- $expressions := list -}}
{{- range regexFindAll `[^,()]+(?:\([^()]*\)\s*)?` $text -1 -}}
{{- $requirement := trim . -}}
{{- $expression := dict -}}
{{- if regexMatch (printf `^%s$` $set) $requirement -}}
{{- $form := printf `^%s$` $set -}}
{{- $values := list -}}
{{- range splitList "," (regexReplaceAll $form $requirement "${3}") -}}{{- $values = append $values (trim .) -}}{{- end -}}
{{- $operator := ternary "In" "NotIn" (eq (regexReplaceAll $form $requirement "${2}") "in") -}}
{{- $expression = dict "key" (regexReplaceAll $form $requirement "${1}") "operator" $operator "values" (uniq $values) -}}
{{- else if regexMatch (printf `^%s$` $equal) $requirement -}}
{{- $form := printf `^%s$` $equal -}}
{{- $operator := ternary "NotIn" "In" (eq (regexReplaceAll $form $requirement "${2}") "!=") -}}
{{- $expression = dict "key" (regexReplaceAll $form $requirement "${1}") "operator" $operator "values" (list (regexReplaceAll $form $requirement "${3}")) -}}
{{- else if hasPrefix "!" $requirement -}}
{{- $expression = dict "key" (trimPrefix "!" $requirement | trim) "operator" "DoesNotExist" -}}
{{- else -}}
{{- $expression = dict "key" $requirement "operator" "Exists" -}}
{{- end -}}
{{- $expressions = append $expressions $expression -}}
{{- end -}}
{{- toJson (dict "matchExpressions" $expressions) -}}
{{- end -}}
{{- end -}}

{{/* Whether a `selector` as in a podSelector selects `labels`; empty if not. */}}
{{- define "mfe.selects" -}}
{{- $labels := default dict .labels -}}
{{- $met := true -}}
{{- range $key, $value := .selector.matchLabels -}}
{{- if or (not (hasKey $labels $key)) (ne (get $labels $key) $value) -}}{{- $met = false -}}{{- end -}}
{{- end -}}
{{- range .selector.matchExpressions -}}
{{- $there := hasKey $labels .key -}}
{{- $among := and $there (has (get $labels .key) (default list .values)) -}}
{{- if not (get (dict "In" $among "NotIn" (not $among) "Exists" $there "DoesNotExist" (not $there)) .operator) -}}{{- $met = false -}}{{- end -}}
{{- end -}}
{{- if $met -}}true{{- end -}}
{{- end -}}

{{/* The agents' ports as lists of a policy's `ports`, in JSON. Numbers and names apart: a network plugin that cannot resolve
names leaves the rule of the numbers whole. */}}
{{- define "mfe.agentPorts" -}}
{{- $numbers := list -}}
{{- $names := list -}}
{{- range .Values.config.scrape.endpoints -}}{{- $numbers = append $numbers (int .port) -}}{{- end -}}
{{- range .Values.networkPolicy.agentPorts -}}
{{- if kindIs "string" . -}}{{- $names = append $names . -}}{{- else -}}{{- $numbers = append $numbers (int .) -}}{{- end -}}
{{- end -}}
{{- $rules := list -}}
{{- range list (uniq $numbers) (uniq $names) -}}
{{- $ports := list -}}
{{- range . -}}{{- $ports = append $ports (dict "protocol" "TCP" "port" .) -}}{{- end -}}
{{- if $ports -}}{{- $rules = append $rules $ports -}}{{- end -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* Namespaces in which the agents' ports may have to be opened, as a JSON list. */}}
{{- define "mfe.policyNamespaces" -}}
{{- $watched := ternary .Values.config.discovery.kubernetes.namespaces list .Values.config.discovery.kubernetes.enabled -}}
{{- default $watched .Values.networkPolicy.agents.namespaces | toJson -}}
{{- end -}}

{{- define "mfe.agentPolicyName" -}}
{{- printf "%s-agents" (include "mfe.clusterName" .) -}}
{{- end -}}

{{/* Where the agents' ports are opened, as `{"made": [namespace…], "left": [{namespace, pod}…]}` in JSON. With `auto` a namespace
is left out if Helm finds an agent that no other policy selects: as its first policy, ours would block all other clients. */}}
{{- define "mfe.agentPolicies" -}}
{{- $wanted := toString .Values.networkPolicy.agents.enabled -}}
{{- $agents := include "mfe.agentSelector" . | fromJson -}}
{{- $made := list -}}
{{- $left := list -}}
{{- if ne $wanted "false" -}}
{{- range $namespace := include "mfe.policyNamespaces" . | fromJsonArray -}}
{{- $open := "" -}}
{{- if eq $wanted "auto" -}}
{{- $others := list -}}
{{- range (lookup "networking.k8s.io/v1" "NetworkPolicy" $namespace "").items -}}
{{- if and (ne .metadata.name (include "mfe.agentPolicyName" $)) (has "Ingress" (default (list "Ingress") .spec.policyTypes)) -}}
{{- $others = append $others (default dict .spec.podSelector) -}}
{{- end -}}
{{- end -}}
{{- range $pod := (lookup "v1" "Pod" $namespace "").items -}}
{{- $closed := has $pod.status.phase (list "Succeeded" "Failed") -}}
{{- range $others -}}{{- if include "mfe.selects" (dict "selector" . "labels" $pod.metadata.labels) -}}{{- $closed = true -}}{{- end -}}{{- end -}}
{{- if and (not $closed) (include "mfe.selects" (dict "selector" $agents "labels" $pod.metadata.labels)) -}}{{- $open = $pod.metadata.name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $open -}}{{- $left = append $left (dict "namespace" $namespace "pod" $open) -}}{{- else -}}{{- $made = append $made $namespace -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "made" $made "left" $left) -}}
{{- end -}}
