# The exporter's role: it may publish to one CloudWatch namespace, and one service account may assume it.

data "aws_eks_cluster" "this" {
  count = var.credentials == "irsa" ? 1 : 0
  name  = var.cluster_name
}

data "aws_iam_openid_connect_provider" "this" {
  count = var.credentials == "irsa" ? 1 : 0
  url   = data.aws_eks_cluster.this[0].identity[0].oidc[0].issuer
}

locals {
  issuer = var.credentials == "irsa" ? trimprefix(data.aws_eks_cluster.this[0].identity[0].oidc[0].issuer, "https://") : ""

  irsa_trust = {
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = one(data.aws_iam_openid_connect_provider.this[*].arn) }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${local.issuer}:sub" = "system:serviceaccount:${var.namespace}:${var.service_account}"
          "${local.issuer}:aud" = "sts.amazonaws.com"
        }
      }
    }]
  }
  pod_identity_trust = {
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
    }]
  }
}

resource "aws_iam_role" "exporter" {
  name                 = local.role_name
  description          = "matillion-fleet-exporter in ${var.cluster_name}: publishes fleet metrics to CloudWatch."
  assume_role_policy   = var.credentials == "irsa" ? jsonencode(local.irsa_trust) : jsonencode(local.pod_identity_trust)
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "publish" {
  name   = "publish-fleet-metrics"
  role   = aws_iam_role.exporter.id
  policy = local.policy
}

resource "aws_eks_pod_identity_association" "exporter" {
  count           = var.credentials == "pod_identity" ? 1 : 0
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.exporter.arn
  tags            = var.tags
}
