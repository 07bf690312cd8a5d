"""What the vendor's charts put into a cluster, as plain objects: `tests/testdata/vendor`.

Each file is a set for a cluster of its own: the Deployments, policies, HPAs and disruption budgets of its releases.
"""

from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "testdata" / "vendor"
SETS = {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
"""`objects` (chart 0.1 of matillion-runner with a script runner, and matillion-agent), `runner-0.5`, `runner-0.6`."""


def vendor_objects(name: str, *kinds: str) -> list[Json]:
    """Return the objects of a set; of these kinds only, where any is named."""
    text = SETS[name].read_text(encoding="utf-8")
    found = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one is not None]
    return [one for one in found if not kinds or one["kind"] in kinds]


def is_agent(deployment: Json) -> bool:
    """Return whether the pods of a Deployment are agents; the script runner's carry the same name but a component."""
    return "app.kubernetes.io/component" not in deployment["spec"]["template"]["metadata"]["labels"]
