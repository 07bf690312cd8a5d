variable "cluster_name" {
  type        = string
  description = "Name of the EKS cluster: the output `cluster_name` of the vendor's module. It is also the CloudWatch dimension ClusterName."

  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name must be the name of an EKS cluster: up to 100 letters, digits, dashes and underscores."
  }
}

variable "namespace" {
  type        = string
  default     = "matillion"
  description = "Kubernetes namespace of the exporter. On Fargate a profile must select it: `matillion` is selected by the vendor's module, any other by `fargate_namespaces`."

  validation {
    condition     = can(regex("^[0-9a-z]([0-9a-z-]{0,61}[0-9a-z])?$", var.namespace))
    error_message = "namespace must be the name of a Kubernetes namespace: up to 63 lower-case letters, digits and dashes."
  }
}

variable "service_account" {
  type        = string
  default     = "matillion-fleet-exporter"
  description = "Name of the exporter's service account, the only one that may assume the role."

  validation {
    condition     = can(regex("^[0-9a-z]([0-9a-z.-]{0,251}[0-9a-z])?$", var.service_account))
    error_message = "service_account must be the name of a Kubernetes service account: lower-case letters, digits, dashes and dots."
  }
}

variable "credentials" {
  type        = string
  default     = "irsa"
  description = "How the exporter gets its role: `irsa` (everywhere; the cluster needs its OIDC provider in IAM, which the vendor's module creates) or `pod_identity` (EC2 nodes with the EKS Pod Identity agent, not Fargate)."

  validation {
    condition     = contains(["irsa", "pod_identity"], var.credentials)
    error_message = "credentials must be irsa or pod_identity."
  }
}

variable "role_name" {
  type        = string
  default     = null
  description = "Name of the role; derived from the cluster's if null."

  validation {
    condition     = var.role_name == null || can(regex("^[0-9A-Za-z+=,.@_-]{1,64}$", var.role_name))
    error_message = "role_name must be the name of an IAM role: up to 64 letters, digits and +=,.@_-."
  }
}

variable "permissions_boundary" {
  type        = string
  default     = null
  description = "ARN of the policy that bounds the permissions of all roles of this module, where the account requires one."

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:[a-z-]+:iam::", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy."
  }
}

variable "metric_namespace" {
  type        = string
  default     = "Matillion/AgentFleet"
  description = "CloudWatch namespace of the metrics, the only one that the role may write to."

  validation {
    condition     = can(regex("^[0-9A-Za-z._/#:-]{1,255}$", var.metric_namespace)) && !startswith(var.metric_namespace, "AWS/")
    error_message = "metric_namespace must be a CloudWatch namespace of up to 255 characters that does not begin with AWS/."
  }
}

variable "forecast_from_cloudwatch" {
  type        = bool
  default     = false
  description = "Whether the role may also read metrics, which `forecast.source: cloudwatch` needs."
}

variable "prometheus_workspace_arn" {
  type        = string
  default     = null
  description = "Workspace of Amazon Managed Prometheus that the role may query, which `forecast.source: prometheus` needs there; none if null."

  validation {
    condition     = var.prometheus_workspace_arn == null || can(regex("^arn:[a-z-]+:aps:.*:workspace/", var.prometheus_workspace_arn))
    error_message = "prometheus_workspace_arn must be the ARN of a workspace of Amazon Managed Prometheus."
  }
}

variable "fleets" {
  type = map(object({
    namespace  = optional(string, "matillion")
    parameters = optional(map(string), {})
  }))
  default     = {}
  description = "Fleets that get alarms and a dashboard, one CloudFormation stack each. The key is the fleet's name, which is the Helm release of the agents; `parameters` are those of alerts/cloudwatch/matillion-fleet.yaml, such as MinimumCapacityTasks."

  validation {
    condition = alltrue([
      for name in flatten([for fleet in var.fleets : keys(fleet.parameters)]) : contains([
        "PageUrl",
        "QueuedTasksThreshold",
        "MinimumCapacityTasks",
        "MinimumCoveragePercent",
        "RestartsThreshold",
        "MemoryPercentThreshold",
        "TasksLostThreshold",
        "TaskFailuresThreshold",
        "NodePercentThreshold",
        "SilentMinutes",
        "NodeAlarms",
        "Dashboard",
      ], name)
    ])
    error_message = "fleets[…].parameters has a name that is no parameter of alerts/cloudwatch/matillion-fleet.yaml, or one that the module sets itself."
  }
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "SNS topic that every alarm notifies; none if empty."

  validation {
    condition     = var.alarm_topic_arn == "" || can(regex("^arn:[a-z-]+:sns:", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of an SNS topic, or empty."
  }
}

variable "page_url" {
  type        = string
  default     = null
  description = "Where people reach the exporter, such as an ingress: alarms and alerts link to its runbooks. The Service if null, which only a browser within the cluster resolves."

  validation {
    condition     = var.page_url == null || can(regex("^https?://[^\\s?]*[^\\s?/]$", var.page_url))
    error_message = "page_url must begin with http:// or https://, and have no / at its end."
  }
}

variable "task_failures" {
  type = object({
    log_group_name  = string
    failure_pattern = string
    parameters      = optional(map(string), {})
  })
  default     = null
  description = "A metric filter that counts failed tasks in a log group of CloudWatch Logs, for all fleets in it; none if null. Leave the exporter's `pod_logs` off then. `parameters` are those of alerts/cloudwatch/task-failures.yaml."

  validation {
    condition = var.task_failures == null ? true : alltrue([
      for name in keys(var.task_failures.parameters) : contains([
        "Namespace",
        "Fleet",
        "MessageField",
        "ClusterNameField",
        "NamespaceField",
        "FleetField",
      ], name)
    ])
    error_message = "task_failures.parameters has a name that is no parameter of alerts/cloudwatch/task-failures.yaml, or one that the module sets itself."
  }
}

variable "fargate_namespaces" {
  type        = list(string)
  default     = []
  description = "Namespaces to run on Fargate besides those that the vendor's module selects (matillion, kube-system, prometheus), for example `monitoring`. Creates one Fargate profile."

  validation {
    condition     = length(var.fargate_namespaces) <= 5
    error_message = "fargate_namespaces may have up to 5 entries: a Fargate profile has at most 5 selectors."
  }
}

variable "private_subnet_ids" {
  type        = list(string)
  default     = []
  description = "Private subnets of the Fargate profile: the output `private_subnet_ids` of the vendor's module. Required with `fargate_namespaces`."
}

variable "pod_execution_role_arn" {
  type        = string
  default     = null
  description = "Pod execution role of the Fargate profile; created if null, because the vendor's module does not output its own."

  validation {
    condition     = var.pod_execution_role_arn == null || can(regex("^arn:[a-z-]+:iam::", var.pod_execution_role_arn))
    error_message = "pod_execution_role_arn must be the ARN of an IAM role."
  }
}

variable "install_chart" {
  type        = bool
  default     = false
  description = "Whether to install the exporter's chart of this repository, with the provider `helm` that the caller configures."
}

variable "image" {
  type = object({
    repository = string
    tag        = optional(string, "")
    digest     = optional(string, "")
  })
  default     = null
  description = "The exporter's image in your registry. Required with `install_chart`."
}

variable "values" {
  type        = list(string)
  default     = []
  description = "YAML documents with values for the chart, later ones over earlier ones and over those of the module."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of everything that the module creates in AWS."
}
