locals {
  # IAM allows 64 characters, an EKS cluster's name may have 100.
  role_name      = coalesce(var.role_name, substr("${var.cluster_name}-fleet-exporter", 0, 64))
  execution_name = substr("${var.cluster_name}-fleet-exporter-fargate", 0, 64)

  # CloudFormation allows letters, digits and dashes, up to 128.
  stack_prefix = "matillion-${replace(var.cluster_name, "_", "-")}"

  # docs/cloudwatch.md, "Permissions". CloudWatch's actions know no resources; the condition keeps the first to one
  # namespace. The last is in docs/forecast.md.
  publish = {
    Sid       = "PublishFleetMetrics"
    Effect    = "Allow"
    Action    = "cloudwatch:PutMetricData"
    Resource  = "*"
    Condition = { StringEquals = { "cloudwatch:namespace" = var.metric_namespace } }
  }
  read = {
    Sid      = "ReadFleetMetrics"
    Effect   = "Allow"
    Action   = "cloudwatch:GetMetricData"
    Resource = "*"
  }
  query = {
    Sid      = "QueryPrometheus"
    Effect   = "Allow"
    Action   = "aps:QueryMetrics"
    Resource = var.prometheus_workspace_arn
  }
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [local.publish],
      var.forecast_from_cloudwatch ? [local.read] : [],
      var.prometheus_workspace_arn != null ? [local.query] : [],
    )
  })

  # What the chart has to agree with. The image is added where it is known.
  chart_values = {
    fullnameOverride = "matillion-fleet-exporter"
    serviceAccount = {
      name    = var.service_account
      roleArn = var.credentials == "irsa" ? aws_iam_role.exporter.arn : ""
    }
    config = {
      cluster    = var.cluster_name
      discovery  = { kubernetes = { namespaces = local.agent_namespaces } }
      cloudwatch = { enabled = true, namespace = var.metric_namespace }
      web        = { external_url = var.page_url }
    }
  }
  image            = { for name, image in { image = var.image } : name => image if image != null }
  agent_namespaces = length(var.fleets) == 0 ? ["matillion"] : distinct([for fleet in var.fleets : fleet.namespace])
  values           = yamlencode(merge(local.chart_values, local.image))
}
