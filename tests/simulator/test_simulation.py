"""The model of a fleet at work, on simulated time only."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.simulation.node_autoscaler import EVICTION_GRACE_SECONDS
from exporter.simulation.nodes import POD_GC_SECONDS
from exporter.simulation.pod import FINISHED, GRACE_SECONDS, KILLED, TASKS_PER_AGENT
from exporter.simulator.nodes import NamedNode
from exporter.simulator.scenario import HOUR, MINUTE, SCENARIOS, Fault, Incident, Scenario, steady
from exporter.simulator.simulated_agent import HEAP_LIMIT, Phase, SimulatedAgent
from exporter.simulator.simulation import FleetPlan, SimulatedFleet, Simulation
from exporter.simulator.vitals import CURRENT, LEGACY, OLDEST, Behaviour


def simulation(scenario: Scenario, otel: int = 4, legacy: int = 0, seed: int = 1) -> tuple[Simulation, SimulatedFleet]:
    plan = FleetPlan("production", (CURRENT,) * otel + (LEGACY,) * legacy, CURRENT)
    model = Simulation([plan], scenario, seed)
    return model, model.fleets["production"]


def quiet(*incidents: Incident, load: float = 0.6, long_share: float = 0.0, interactive: float = 0.0) -> Scenario:
    return Scenario(
        name="test",
        summary="",
        load=steady(load),
        cycle=1000 * HOUR,
        incidents=incidents,
        long_share=long_share,
        interactive_share=interactive,
    )


# One step of a history: how long to wait, and how many replicas to ask for (None: leave them).
STEPS = st.lists(st.tuples(st.floats(0.1, 400.0), st.none() | st.integers(0, 9)), min_size=1, max_size=12)
NAMES = st.sampled_from(sorted(SCENARIOS))


def history(name: str, seed: int, steps: list[tuple[float, int | None]]) -> list[object]:
    plans = [FleetPlan("one", (CURRENT, LEGACY, OLDEST), CURRENT), FleetPlan("two", (CURRENT,) * 2, CURRENT)]
    model = Simulation(plans, SCENARIOS[name], seed)
    seen: list[object] = []
    until = 0.0
    for seconds, replicas in steps:
        until += seconds
        model.advance(until)
        if replicas is not None:
            model.scale("one", replicas)
        seen.append([fleet.counts() for fleet in model.fleets.values()])
        seen.append([(agent.behaviour, agent.vitals(model.now)) for agent in model.agents])
    return seen


@settings(max_examples=40, deadline=None)
@given(name=NAMES, seed=st.integers(0, 1000), steps=STEPS)
@pytest.mark.slow
def test_same_seed_and_steps_give_the_same_history(name: str, seed: int, steps: list[tuple[float, int | None]]) -> None:
    """A history depends on its scenario, its seed and what was asked of it, and on nothing else."""
    assert history(name, seed, steps) == history(name, seed, steps)


@settings(max_examples=40, deadline=None)
@given(name=NAMES, seed=st.integers(0, 1000), steps=STEPS)
def test_tasks_and_caps_hold(name: str, seed: int, steps: list[tuple[float, int | None]]) -> None:
    """No task vanishes or is invented, no agent runs more than its cap, and figures are never negative."""
    model, fleet = simulation(SCENARIOS[name], otel=2, legacy=1, seed=seed)
    until = 0.0
    for seconds, replicas in steps:
        until += seconds
        model.advance(until)
        if replicas is not None:
            model.scale("production", replicas)
        counts = fleet.counts()
        assert counts.arrived == counts.queued + counts.running + counts.finished + counts.lost
        reporters = [agent for agent in fleet.pods if agent.image.otel and agent.serving]
        assert sum(agent.queued for agent in fleet.pods) == (counts.queued if reporters else 0)
        for agent in fleet.pods:
            vitals = agent.vitals(model.now)
            assert 0 <= agent.limited <= TASKS_PER_AGENT
            assert agent.interactive >= 0
            assert vitals.tasks_active == agent.limited + agent.interactive
            assert 0 < vitals.heap_used_bytes <= vitals.heap_limit_bytes
            assert 0 <= vitals.cpu_utilization <= 1


def test_the_cadence_of_looking_changes_nothing() -> None:
    """Advancing in one go or in many small pieces gives the same fleet."""
    one, fleet = simulation(SCENARIOS["mixed"])
    many, other = simulation(SCENARIOS["mixed"])
    one.advance(3000.0)
    for piece in range(1, 12_001):
        many.advance(piece / 4)
    assert fleet.counts() == other.counts()
    assert [agent.vitals(one.now) for agent in fleet.pods] == [agent.vitals(many.now) for agent in other.pods]


def test_another_seed_gives_another_history() -> None:
    """The seed matters."""
    assert history("steady", 1, [(300.0, None)]) != history("steady", 2, [(300.0, None)])


def test_steady_load_keeps_its_share_of_the_slots_busy() -> None:
    """Load is the share of the initial slots that is busy, from the first instant on."""
    model, fleet = simulation(quiet(load=0.6), otel=10)
    busy = []
    for until in range(0, 7200, 60):
        model.advance(float(until))
        busy.append(fleet.counts().running)
    assert sum(busy) / len(busy) == pytest.approx(0.6 * 200, rel=0.1)
    assert busy[0] == pytest.approx(120, abs=40)


def test_a_queue_builds_up_only_when_every_slot_is_taken() -> None:
    """Limited tasks wait when, and only when, there is no slot for them."""
    model, fleet = simulation(quiet(load=1.4))
    for until in range(0, 1800, 10):
        model.advance(float(until))
        if fleet.counts().queued:
            assert all(agent.limited == TASKS_PER_AGENT for agent in fleet.pods)
    assert fleet.counts().queued > 20


def test_legacy_agents_leave_the_queue_unseen() -> None:
    """A fleet of old images has a queue that nobody reports."""
    model, fleet = simulation(quiet(load=1.5), otel=0, legacy=3)
    model.advance(1200.0)
    assert fleet.counts().queued > 0
    assert all(agent.vitals(model.now).tasks_queued == 0 for agent in fleet.pods)


def test_interactive_tasks_go_beyond_the_cap() -> None:
    """A full agent still takes what a person starts in the designer."""
    model, fleet = simulation(quiet(load=1.5, interactive=0.3))
    model.advance(1200.0)
    assert max(agent.tasks for agent in fleet.pods) > TASKS_PER_AGENT


def test_an_added_agent_starts_with_its_port_closed_and_then_works() -> None:
    """A new pod is a member at once, answers after its start, and then takes from the queue."""
    model, fleet = simulation(quiet(load=1.5))
    model.advance(600.0)
    model.scale("production", 5)
    assert len(fleet.pods) == 5
    new = fleet.pods[-1]
    assert (new.phase, new.behaviour, new.tasks) == (Phase.STARTING, Behaviour.CLOSED, 0)
    model.advance(600.0 + 60.0)
    assert (new.phase, new.behaviour) == (Phase.RUNNING, Behaviour.ANSWERING)
    assert new.limited == TASKS_PER_AGENT


def test_scaling_in_drains_the_newest_until_its_last_task_is_done() -> None:
    """A removed agent finishes its tasks, takes no new one, says so, and is gone when it is idle."""
    model, fleet = simulation(quiet(load=0.9))
    model.advance(300.0)
    newest = fleet.pods[-1]
    model.scale("production", 3)
    assert fleet.replicas == 3
    assert newest.phase is Phase.DRAINING
    assert newest.vitals(model.now).status == 2
    counts = [newest.tasks]
    while newest in fleet.pods:
        model.advance(model.now + 1.0)
        counts.append(newest.tasks)
    assert all(later <= earlier for earlier, later in pairwise(counts))
    assert counts[-1] == 0
    assert fleet.counts().lost == 0


def test_scaling_in_takes_an_agent_that_is_still_starting_first() -> None:
    """Kubernetes lets go of pods that are not ready before those that are."""
    model, fleet = simulation(quiet())
    model.scale("production", 5)
    model.scale("production", 4)
    assert len(fleet.pods) == 4
    assert all(agent.phase is Phase.RUNNING for agent in fleet.pods)


def test_a_drain_is_cut_off_after_twelve_hours() -> None:
    """When the grace period is over the agent is gone and what it still ran is lost."""
    model, fleet = simulation(quiet(load=0.9, long_share=0.5))
    model.scale("production", 3)
    draining = next(agent for agent in fleet.pods if agent.phase is Phase.DRAINING)
    model.advance(3 * HOUR)
    assert draining.phase is Phase.DRAINING
    assert draining.tasks > 0
    model.advance(GRACE_SECONDS + 1)
    assert draining not in fleet.pods


def test_scaling_to_the_impossible_is_refused() -> None:
    """A negative number of agents is an error, an unknown fleet too."""
    model, _ = simulation(quiet())
    with pytest.raises(ValueError, match="cannot have -1 agents"):
        model.scale("production", -1)
    with pytest.raises(KeyError):
        model.scale("nowhere", 1)


def node_struck(trouble: Fault, long_share: float = 0.5) -> tuple[Simulation, SimulatedFleet, NamedNode]:
    """Return a fleet of four at the moment when a node of it is struck, and that node."""
    scenario = quiet(Incident(at=60.0, trouble=trouble), long_share=long_share)
    model, fleet = simulation(scenario)
    model.advance(60.0)
    [node] = fleet.gone_nodes
    return model, fleet, node


def on(node: NamedNode, fleet: SimulatedFleet) -> list[SimulatedAgent]:
    return [agent for agent in fleet.pods if agent.node is node]


def test_agents_share_nodes() -> None:
    """The emptiest node first, a new one where none has room; fleets have nodes of their own."""
    plans = [FleetPlan("one", (CURRENT,) * 4, CURRENT), FleetPlan("two", (CURRENT,), CURRENT)]
    model = Simulation(plans, quiet(), seed=1)
    model.scale("one", 7)
    nodes = [agent.node for agent in model.agents]
    assert [len(node.pods) for node in dict.fromkeys(nodes)] == [3, 3, 1, 1]
    assert len({node.name for node in nodes}) == 4
    assert len({NamedNode(number).name for number in range(2000)}) == 2000


def test_a_removed_node_gives_its_agents_ten_minutes() -> None:
    """They are replaced elsewhere at once, finish what they can, and lose the rest when the grace is over."""
    model, fleet, node = node_struck(Fault.NODE_REMOVED)
    evicted = on(node, fleet)
    assert (node.agents, node.tasks) == (len(evicted), sum(agent.tasks for agent in evicted))
    assert all(agent.phase is Phase.DRAINING for agent in evicted)
    assert fleet.replicas == 4
    model.advance(60.0 + EVICTION_GRACE_SECONDS - 1)
    left = sum(agent.tasks for agent in evicted)
    assert 0 < left < node.tasks
    model.advance(60.0 + EVICTION_GRACE_SECONDS)
    assert on(node, fleet) == []
    assert {agent.last_end for agent in evicted} <= {KILLED, FINISHED}
    assert fleet.counts().lost == node.killed
    assert abs(node.killed - left) <= 3
    assert node.story().endswith(f"evicted with 10 min of grace, {node.killed} tasks were killed")


def test_agents_that_finish_in_time_lose_nothing_with_their_node() -> None:
    """A node whose tasks are short costs none of them."""
    model, fleet, node = node_struck(Fault.NODE_REMOVED, long_share=0.0)
    evicted = on(node, fleet)
    model.advance(60.0 + 3 * EVICTION_GRACE_SECONDS)
    assert FINISHED in {agent.last_end for agent in evicted}
    assert node.killed == fleet.counts().lost <= 3


def test_an_eviction_shortens_a_drain() -> None:
    """The kubelet counts the new grace from the eviction on; the pod is not replaced a second time."""
    incident = Incident(at=HOUR, trouble=Fault.NODE_REMOVED, share=1.0)
    model, fleet = simulation(quiet(incident, long_share=0.5), otel=5)
    model.scale("production", 4)
    draining = next(agent for agent in fleet.pods if agent.draining)
    model.advance(HOUR - 1)
    assert draining.tasks > 0
    model.advance(HOUR + EVICTION_GRACE_SECONDS - 1)
    assert (draining.phase, draining.grace_seconds) == (Phase.DRAINING, EVICTION_GRACE_SECONDS)
    model.advance(HOUR + EVICTION_GRACE_SECONDS)
    assert (draining.phase, draining.last_end) == (Phase.GONE, KILLED)
    assert fleet.replicas == 4


def test_a_lost_node_silences_its_agents_until_their_pods_are_collected() -> None:
    """Their tasks are lost at once; the replacements come only when the pods are deleted."""
    model, fleet, node = node_struck(Fault.NODE_LOST)
    lost = on(node, fleet)
    assert fleet.counts().lost == node.killed == node.tasks > 0
    assert {(agent.phase, agent.behaviour, agent.tasks) for agent in lost} == {(Phase.LOST, Behaviour.HUNG, 0)}
    assert len(fleet.pods) == fleet.replicas == 4
    model.advance(60.0 + POD_GC_SECONDS[1] + 1)
    assert on(node, fleet) == []
    assert all(agent.last_end is None for agent in lost)
    assert fleet.replicas == 4
    assert node.story() == f"node {node.short_name} was lost: {node.agents} agents replaced, {node.killed} tasks lost"


def test_scaling_in_takes_agents_of_a_lost_node_first() -> None:
    """They are not ready; they stay until their pods are collected, and are not replaced then."""
    model, fleet, node = node_struck(Fault.NODE_LOST)
    lost = on(node, fleet)
    model.scale("production", 4 - len(lost))
    assert all(agent.deleted_at is not None for agent in lost)
    assert all(agent.phase is Phase.RUNNING for agent in fleet.pods if agent not in lost)
    model.advance(60.0 + POD_GC_SECONDS[1] + 1)
    assert len(fleet.pods) == fleet.replicas == 4 - len(lost)


def struck(trouble: Fault, lasts: float = 120.0, share: float = 0.0) -> tuple[Simulation, SimulatedFleet]:
    model, fleet = simulation(quiet(Incident(at=60.0, trouble=trouble, lasts=lasts, share=share)))
    model.advance(60.0)
    return model, fleet


def test_a_disconnected_agent_works_on_and_takes_nothing_new() -> None:
    """Without the control plane an agent only finishes what it has, until it is connected again."""
    model, fleet = struck(Fault.DISCONNECT)
    victim = next(agent for agent in fleet.pods if not agent.connected)
    had = victim.tasks
    model.advance(175.0)
    assert victim.tasks < had
    assert not victim.vitals(model.now).connected
    model.advance(300.0)
    assert victim.connected
    assert victim.tasks > 0


def test_a_hung_agent_keeps_its_tasks_until_it_wakes() -> None:
    """Nothing moves in a process that stands still."""
    model, fleet = struck(Fault.HANG)
    victim = next(agent for agent in fleet.pods if agent.behaviour is Behaviour.HUNG)
    had = victim.tasks
    model.advance(179.0)
    assert victim.tasks == had
    model.advance(600.0)
    assert victim.behaviour is Behaviour.ANSWERING
    assert victim.finished > had


def test_a_stopped_agent_reports_status_0() -> None:
    """An agent that is not running reports it and takes no work."""
    model, fleet = struck(Fault.STOP)
    victim = next(agent for agent in fleet.pods if agent.stopped)
    assert victim.vitals(model.now).status == 0
    assert not victim.serving


@pytest.mark.parametrize(("trouble", "behaviour"), [(Fault.SLOW, Behaviour.SLOW), (Fault.ERROR, Behaviour.ERRORING)])
def test_an_agent_whose_endpoint_misbehaves_works_on(trouble: Fault, behaviour: Behaviour) -> None:
    """A slow or failing endpoint says nothing about the work behind it."""
    model, fleet = struck(trouble)
    victim = next(agent for agent in fleet.pods if agent.behaviour is behaviour)
    assert victim.serving
    model.advance(181.0)
    assert victim.behaviour is Behaviour.ANSWERING


def test_a_dead_agent_loses_its_tasks_and_starts_again() -> None:
    """Its port is closed while the container restarts; the pod stays the same."""
    model, fleet = struck(Fault.DIE)
    victim = next(agent for agent in fleet.pods if agent.behaviour is Behaviour.CLOSED)
    lost = fleet.counts().lost
    assert lost > 0
    assert victim.tasks == 0
    model.advance(90.0)
    assert victim in fleet.pods
    assert victim.behaviour is Behaviour.ANSWERING
    assert victim.vitals(model.now).uptime_seconds <= 30


def test_a_leak_fills_the_heap_and_kills_the_agent() -> None:
    """Heap in use rises to the limit in the time given, and then the process is gone."""
    model, fleet = struck(Fault.LEAK, lasts=20 * MINUTE)
    victim = next(agent for agent in fleet.pods if agent.leaking_since is not None)
    seen = []
    for minute in range(1, 20):
        model.advance(60.0 + minute * MINUTE)
        seen.append(victim.vitals(model.now).heap_used_bytes)
    assert seen[-1] > 0.9 * HEAP_LIMIT > seen[0]
    model.advance(60.0 + 20 * MINUTE)
    assert victim.behaviour is Behaviour.CLOSED
    model.advance(60.0 + 22 * MINUTE)
    assert victim.vitals(model.now).heap_used_bytes < 0.6 * HEAP_LIMIT


def test_a_drained_pod_is_replaced() -> None:
    """A deleted pod of a Deployment gets a successor while it drains."""
    _, fleet = struck(Fault.DRAIN)
    assert fleet.replicas == 4
    assert len(fleet.pods) == 5


def test_an_incident_may_strike_the_whole_fleet() -> None:
    """A share of 1 means everyone."""
    _, fleet = struck(Fault.DISCONNECT, share=1.0)
    assert not any(agent.connected for agent in fleet.pods)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_scenario_runs_its_cycle_twice(name: str) -> None:
    """Each named scenario keeps the fleet working, and its troubles come back in the next cycle."""
    scenario = SCENARIOS[name]
    model, fleet = simulation(scenario, otel=3, legacy=1)
    model.advance(min(2 * scenario.cycle, 6 * HOUR))
    assert fleet.counts().finished > 100
    assert all(0 < incident.at <= scenario.cycle for incident in scenario.incidents)
    assert scenario.summary
