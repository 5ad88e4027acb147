"""A local stand-in for Chatwoot that speaks real HTTP both ways."""

from __future__ import annotations

from .api import ENDPOINTS, Call, Fault
from .deliveries import Delivery
from .files import File
from .simulator import Simulator
from .state import Talk

__all__ = ["ENDPOINTS", "Call", "Delivery", "Fault", "File", "Simulator", "Talk"]
