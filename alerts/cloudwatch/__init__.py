"""The CloudWatch alarms as Python values; `alerts.build` writes them into the CloudFormation template."""
