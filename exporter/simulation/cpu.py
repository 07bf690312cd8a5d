"""The CPU utilization of agents, as an HPA that follows it has it: the alternative to a metric of tasks."""

from exporter.simulation.hpa import per_pod
from exporter.simulation.pod import TASKS_PER_AGENT
from exporter.simulation.replay import TARGET, Load, PodMetric

CPU_TARGET = 0.70
"""The example of the vendor's guide to agents on EKS: "Target CPU: 70%"."""
CPU_IDLE = 0.04
"""Share of its request (1 vCPU, the vendor's smallest size) that an agent without tasks takes. Assumed."""
CPU_PER_TASK = (CPU_TARGET - CPU_IDLE) / TARGET
"""Share of an agent's request that a task takes, chosen so that 16 tasks are exactly 70%: the best case for CPU."""


def cpu(tasks_per_agent: int = TASKS_PER_AGENT, cpu_per_task: float = CPU_PER_TASK) -> PodMetric:
    """Return the metric of an HPA on CPU, with the tasks spread evenly over the agents."""

    def propose(load: Load) -> int:
        share = min(tasks_per_agent, load.running / load.ready) if load.ready else 0.0
        usage = CPU_IDLE + cpu_per_task * share
        pods = range(load.ready)
        return per_pod(dict.fromkeys(pods, usage), pods, CPU_TARGET, load.ready + load.starting, unready=load.starting)

    return propose
