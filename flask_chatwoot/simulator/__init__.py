"""A simulated Chatwoot on this machine, with real HTTP in both directions."""

from __future__ import annotations

from .api import Call, Fault
from .composer import Completion, Suggestion
from .deliveries import Delivery
from .files import File
from .routes import ENDPOINTS
from .simulator import Simulator
from .talk import Talk

__all__ = [
    "ENDPOINTS",
    "Call",
    "Completion",
    "Delivery",
    "Fault",
    "File",
    "Simulator",
    "Suggestion",
    "Talk",
]
