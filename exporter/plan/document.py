"""The plan as JSON, for programs."""

from typing import Any

from exporter.plan.comparison import Alternative, Plan
from exporter.plan.words import headline, reasons, values

Json = dict[str, Any]


def document(plan: Plan) -> Json:
    """Return what `--json` prints."""
    others: dict[str, list[Json]] = {}
    for variant in plan.variants:
        others.setdefault(variant.name, []).append(_figures(variant))
    return {
        "alternatives": [
            {
                "name": one.name,
                **_figures(one),
                **({"variants": others[one.name]} if one.name in others else {}),
            }
            for one in plan.alternatives
        ],
        "recommended": {
            "name": plan.recommended.name,
            **_figures(plan.recommended),
            "summary": headline(plan),
            "reason": " ".join(reasons(plan)),
            "values": values(plan),
        },
        "assumed": {"start_seconds": plan.given.start_seconds, "start_source": plan.given.start_source},
    }


def _figures(one: Alternative) -> Json:
    return {
        "waited_task_hours": round(one.waited_task_hours, 3),
        "late_share": round(one.late_share, 6),
        "p95_wait_seconds": round(one.p95_wait_seconds, 1),
        "agent_hours": round(one.agent_hours, 2),
        "cost_dollars": round(one.cost, 2),
        "peak_agents": one.peak_agents,
        "peak_nodes": one.peak_nodes,
        "min_agents": one.setting.least,
        "max_agents": one.setting.most,
        "target_tasks_per_agent": one.setting.target,
    }
