"""``CHATWOOT_*`` settings: one table, read once into a frozen :class:`Config`."""

from __future__ import annotations

from .loading import MARGIN, Config, load

__all__ = ["MARGIN", "Config", "load"]
