"""Celery as the engine: its workers run the turns, which its broker wakes.

What is sent through the broker is a hint, and may be lost: the jobs in the database are
the truth. A periodic task, the sweep, finds what is due and was not woken.
"""

from .backend import CeleryBackend as CeleryBackend
from .tasks import sweep as sweep
from .tasks import wake as wake
