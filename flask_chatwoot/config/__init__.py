"""``CHATWOOT_*`` settings: one table, read once into a frozen :class:`Config`."""

from __future__ import annotations

from .loading import Config, load

__all__ = ["Config", "load"]
