# Alarms and a dashboard for each fleet, and the count of failed tasks: the CloudFormation templates of this repository.

resource "aws_cloudformation_stack" "fleet" {
  for_each      = var.fleets
  name          = substr(replace("${local.stack_prefix}-${each.value.namespace}-${each.key}", "/[^0-9A-Za-z-]/", "-"), 0, 128)
  template_body = file("${path.module}/../../alerts/cloudwatch/matillion-fleet.yaml")
  parameters = merge({
    ClusterName     = var.cluster_name
    Namespace       = each.value.namespace
    Fleet           = each.key
    MetricNamespace = var.metric_namespace
    AlarmTopicArn   = var.alarm_topic_arn
    PageUrl         = coalesce(var.page_url, "http://matillion-fleet-exporter.${var.namespace}.svc:9850")
  }, each.value.parameters)
  tags = var.tags
}

resource "aws_cloudformation_stack" "task_failures" {
  count         = var.task_failures == null ? 0 : 1
  name          = substr("${local.stack_prefix}-task-failures", 0, 128)
  template_body = file("${path.module}/../../alerts/cloudwatch/task-failures.yaml")
  parameters = merge({
    ClusterName     = var.cluster_name
    Namespace       = "*"
    MetricNamespace = var.metric_namespace
    LogGroupName    = var.task_failures.log_group_name
    FailurePattern  = var.task_failures.failure_pattern
  }, var.task_failures.parameters)
  tags = var.tags
}
