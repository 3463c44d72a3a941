"""Fixtures of the live tests."""

from __future__ import annotations

from shell_live import provide, serve

__all__ = ["provide", "serve"]
