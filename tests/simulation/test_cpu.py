"""An HPA on the CPU of agents, on numbers that can be worked out by hand."""

import pytest

from exporter.simulation.cpu import CPU_PER_TASK, cpu
from exporter.simulation.hpa import MetricError
from exporter.simulation.replay import Load


@pytest.mark.parametrize(
    ("running", "ready", "starting", "proposed"),
    [
        (32, 2, 0, 2),  # 16 tasks each are exactly the target
        (40, 2, 0, 3),  # at most 20 run on an agent: 0.865 of 0.7
        (400, 2, 0, 3),  # what waits uses no CPU
        (40, 2, 1, 3),  # those that start count as using nothing
        (8, 2, 0, 1),
    ],
)
def test_what_it_proposes(running: int, ready: int, starting: int, proposed: int) -> None:
    """From the utilization of the agents alone: work that waits is invisible."""
    assert cpu()(Load(running, ready, starting)) == proposed


def test_light_tasks_never_add_an_agent() -> None:
    """With half the CPU, full agents stay below the target."""
    assert cpu(cpu_per_task=CPU_PER_TASK / 2)(Load(400, 4, 0)) <= 4


def test_without_an_agent_that_is_up_there_is_no_value() -> None:
    """The HPA then changes nothing."""
    with pytest.raises(MetricError):
        cpu()(Load(0, 0, 2))
