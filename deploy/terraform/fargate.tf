# A Fargate profile for namespaces that the vendor's module does not select.

data "aws_partition" "current" {}

locals {
  fargate        = length(var.fargate_namespaces) > 0
  execution_role = local.fargate && var.pod_execution_role_arn == null
}

resource "aws_iam_role" "execution" {
  count                = local.execution_role ? 1 : 0
  name                 = local.execution_name
  description          = "Runs pods of ${join(", ", var.fargate_namespaces)} in ${var.cluster_name} on Fargate."
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "eks-fargate-pods.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  count      = local.execution_role ? 1 : 0
  role       = aws_iam_role.execution[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonEKSFargatePodExecutionRolePolicy"
}

resource "aws_eks_fargate_profile" "this" {
  count                  = local.fargate ? 1 : 0
  cluster_name           = var.cluster_name
  fargate_profile_name   = "fleet-exporter"
  pod_execution_role_arn = local.execution_role ? aws_iam_role.execution[0].arn : var.pod_execution_role_arn
  subnet_ids             = var.private_subnet_ids
  tags                   = var.tags

  dynamic "selector" {
    for_each = toset(var.fargate_namespaces)
    content {
      namespace = selector.value
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.private_subnet_ids) > 0
      error_message = "fargate_namespaces needs private_subnet_ids: the output private_subnet_ids of the vendor's module."
    }
  }

  depends_on = [aws_iam_role_policy_attachment.execution]
}
