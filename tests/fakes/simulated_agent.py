"""One agent of the simulator that answers, for tests that need no more of a fleet."""

from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, Behaviour, Image


def agent_at_work(number: int, fleet: str, pod: str, image: Image = CURRENT, *, tasks: int) -> SimulatedAgent:
    """Return an agent that has run since the start of time."""
    agent = SimulatedAgent(number=number, fleet=fleet, pod=pod, image=image, ready_since=0.0, limited=tasks)
    agent.behaviour = Behaviour.ANSWERING
    return agent
