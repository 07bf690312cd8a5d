output "role_arn" {
  description = "ARN of the exporter's role: the chart's value serviceAccount.roleArn with IRSA."
  value       = aws_iam_role.exporter.arn
}

output "service_account" {
  description = "The service account that may assume the role, as namespace/name."
  value       = "${var.namespace}/${var.service_account}"
}

output "policy" {
  description = "The role's policy as JSON, for a review."
  value       = local.policy
}

output "alarm_stacks" {
  description = "Name of the CloudFormation stack of each fleet."
  value       = { for fleet, stack in aws_cloudformation_stack.fleet : fleet => stack.name }
}

output "fargate_profile" {
  description = "Name of the Fargate profile; null if there is none."
  value       = one(aws_eks_fargate_profile.this[*].fargate_profile_name)
}

output "chart_values" {
  description = "Values for the exporter's chart as YAML, for an installation without `install_chart`: terraform output -raw chart_values > values.yaml"
  value       = local.values
}
