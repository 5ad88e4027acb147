"""A simulated Chatwoot on this machine, with real HTTP in both directions."""

from __future__ import annotations

from .api import Call, Fault
from .deliveries import Delivery
from .files import File
from .routes import ENDPOINTS
from .simulator import Simulator
from .talk import Talk

__all__ = ["ENDPOINTS", "Call", "Delivery", "Fault", "File", "Simulator", "Talk"]
