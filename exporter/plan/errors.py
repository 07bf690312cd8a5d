"""Why there is no plan."""


class PlanError(Exception):
    """The past is no good, or the options are; the text is one sentence that states why and what to do."""


class PastError(Exception):
    """A source of the past cannot be read; the text is one sentence that states why and what to do."""
