"""The backends: jobs run in the request that stored them, or in threads."""

from .inline import InlineBackend
from .runner import JobRunner
from .threads import ThreadBackend, stop_all

__all__ = ["InlineBackend", "JobRunner", "ThreadBackend", "stop_all"]
