# `terraform init && terraform test`: no AWS account and no cluster are needed, both providers are mocks.

mock_provider "aws" {
  mock_data "aws_eks_cluster" {
    defaults = {
      identity = [{ oidc = [{ issuer = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE0123456789" }] }]
    }
  }
  mock_data "aws_iam_openid_connect_provider" {
    defaults = {
      arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE0123456789"
    }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/example" }
  }
}

mock_provider "helm" {}

variables {
  cluster_name = "prod-eks"
}

run "only_the_role" {
  assert {
    condition     = output.alarm_stacks == {} && output.fargate_profile == null && length(helm_release.exporter) == 0
    error_message = "Nothing but the role is created unless it is wanted."
  }
  assert {
    condition     = length(jsondecode(aws_iam_role_policy.publish.policy).Statement) == 1
    error_message = "The role may publish, and nothing else."
  }
  assert {
    condition = jsondecode(aws_iam_role.exporter.assume_role_policy).Statement[0].Condition.StringEquals == {
      "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE0123456789:sub" = "system:serviceaccount:matillion:matillion-fleet-exporter"
      "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE0123456789:aud" = "sts.amazonaws.com"
    }
    error_message = "With IRSA only the exporter's service account may assume the role."
  }
  assert {
    condition     = yamldecode(output.chart_values).serviceAccount.roleArn == aws_iam_role.exporter.arn
    error_message = "With IRSA the service account names its role."
  }
}

run "pod_identity" {
  variables {
    credentials = "pod_identity"
    namespace   = "monitoring"
  }
  assert {
    condition = (
      jsondecode(aws_iam_role.exporter.assume_role_policy).Statement[0].Principal.Service == "pods.eks.amazonaws.com"
      && aws_eks_pod_identity_association.exporter[0].namespace == "monitoring"
      && length(data.aws_iam_openid_connect_provider.this) == 0
    )
    error_message = "Pod Identity takes an association, and no OIDC provider."
  }
  assert {
    condition     = yamldecode(output.chart_values).serviceAccount.roleArn == ""
    error_message = "With Pod Identity the service account has no annotation."
  }
}

run "everything" {
  variables {
    namespace                = "monitoring"
    forecast_from_cloudwatch = true
    prometheus_workspace_arn = "arn:aws:aps:eu-west-1:111122223333:workspace/ws-1a2b3c"
    fleets = {
      etl-prod = { parameters = { MinimumCapacityTasks = "80" } }
      etl_test = { namespace = "test" }
    }
    alarm_topic_arn    = "arn:aws:sns:eu-west-1:111122223333:on-call"
    page_url           = "https://fleets.example.com"
    task_failures      = { log_group_name = "/aws/containerinsights/prod-eks/application", failure_pattern = "ERROR" }
    fargate_namespaces = ["monitoring"]
    private_subnet_ids = ["subnet-1", "subnet-2"]
    install_chart      = true
    image              = { repository = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/matillion-fleet-exporter" }
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.publish.policy).Statement : statement.Action] == [
      "cloudwatch:PutMetricData", "cloudwatch:GetMetricData", "aps:QueryMetrics",
    ]
    error_message = "A forecast from CloudWatch or Prometheus reads metrics there."
  }
  assert {
    condition = output.alarm_stacks == {
      etl-prod = "matillion-prod-eks-matillion-etl-prod"
      etl_test = "matillion-prod-eks-test-etl-test"
    }
    error_message = "Each fleet has a stack, whose name CloudFormation accepts."
  }
  assert {
    condition = aws_cloudformation_stack.fleet["etl-prod"].parameters == tomap({
      ClusterName          = "prod-eks"
      Namespace            = "matillion"
      Fleet                = "etl-prod"
      MetricNamespace      = "Matillion/AgentFleet"
      AlarmTopicArn        = "arn:aws:sns:eu-west-1:111122223333:on-call"
      PageUrl              = "https://fleets.example.com"
      MinimumCapacityTasks = "80"
    })
    error_message = "A stack has the three dimensions, and the fleet's own parameters."
  }
  assert {
    condition     = aws_cloudformation_stack.task_failures[0].parameters.FailurePattern == "ERROR"
    error_message = "One metric filter counts failed tasks."
  }
  assert {
    condition = (
      output.fargate_profile == "fleet-exporter"
      && [for selector in aws_eks_fargate_profile.this[0].selector : selector.namespace] == ["monitoring"]
      && aws_eks_fargate_profile.this[0].pod_execution_role_arn == aws_iam_role.execution[0].arn
    )
    error_message = "The profile selects the namespace, with a pod execution role of its own."
  }
  assert {
    condition = (
      helm_release.exporter[0].namespace == "monitoring"
      && yamldecode(helm_release.exporter[0].values[0]).config.discovery.kubernetes.namespaces == ["matillion", "test"]
    )
    error_message = "The chart is installed and watches the fleets' namespaces."
  }
}

run "no_subnets" {
  command = plan
  variables {
    fargate_namespaces = ["monitoring"]
  }
  expect_failures = [aws_eks_fargate_profile.this]
}

run "no_image" {
  command = plan
  variables {
    install_chart = true
  }
  expect_failures = [helm_release.exporter]
}

run "wrong_inputs" {
  command = plan
  variables {
    cluster_name     = "prod eks"
    credentials      = "keys"
    metric_namespace = "AWS/EC2"
    fleets           = { etl = { parameters = { ClusterName = "other" } } }
    alarm_topic_arn  = "on-call"

    page_url                 = "fleets.example.com/"
    prometheus_workspace_arn = "ws-1a2b3c"
  }
  expect_failures = [
    var.prometheus_workspace_arn,
    var.cluster_name,
    var.credentials,
    var.metric_namespace,
    var.fleets,
    var.alarm_topic_arn,
    var.page_url,
  ]
}
