"""Leadership by hand."""

from collections.abc import Callable

from exporter.kube.election import Work


class Leader:
    """A `Leadership` that leads or not, as a test says, and hears of no other process."""

    def __init__(self, leads: bool = True) -> None:
        self.leads = leads
        self.leads_while: Callable[[], bool] = lambda: True

    def is_leader(self) -> bool:
        return self.leads and self.leads_while()

    def fit_leader(self) -> str | None:
        return None

    async def run(self, work: Work) -> None:
        raise NotImplementedError
