"""The tests of what is installed by other means than the chart alone."""

from tests.chart.conftest import chart, helm, tools

__all__ = ["chart", "helm", "tools"]
