# The exporter itself, if wanted: the chart of this repository with what the rest of the module decides.

resource "helm_release" "exporter" {
  count            = var.install_chart ? 1 : 0
  name             = "matillion-fleet-exporter"
  chart            = "${path.module}/../../chart"
  namespace        = var.namespace
  create_namespace = true
  timeout          = 600
  values           = concat([local.values], var.values)

  lifecycle {
    precondition {
      condition     = var.image != null
      error_message = "install_chart needs image: the exporter's image is built by you (docs/install.md, step 1)."
    }
  }

  depends_on = [aws_eks_fargate_profile.this, aws_eks_pod_identity_association.exporter, aws_iam_role_policy.publish]
}
