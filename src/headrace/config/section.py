"""A group of settings that belong together: a table of the file, and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.config.rules import RULES, Rule
from headrace.config.serving import SERVE_RULES, ServeSettings
from headrace.config.settings import RunSettings

ENV_PREFIX = "HEADRACE_"


class Section(msgspec.Struct, frozen=True):
    """Where the settings of one command stand, and what they may be.

    Args:
        name: of the table in `headrace.toml`.
        prefix: of its environment variables.
        kind: what holds them.
        rules: by setting.
    """

    name: str
    prefix: str
    kind: type[Any]
    rules: Mapping[str, Rule]

    def setting_of(self, variable: str) -> str | None:
        """Return the setting that a variable gives; None if it is none of these."""
        name = variable.removeprefix(self.prefix).lower()
        is_ours = variable.startswith(self.prefix) and variable == variable.upper()
        return name if is_ours and name in self.rules else None


RUN = Section("run", ENV_PREFIX, RunSettings, RULES)
SERVE = Section("serve", f"{ENV_PREFIX}SERVE_", ServeSettings, SERVE_RULES)
SECTIONS = (RUN, SERVE)
