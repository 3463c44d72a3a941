"""How busy this machine is."""

from __future__ import annotations

import psutil


class CpuLoad:
    """Reads how busy all CPUs of this machine were since it was last asked."""

    def __init__(self) -> None:
        self._is_primed = False

    def share(self) -> float:
        """Return the share in use, 0 to 1; never blocks.

        The first reading has nothing to compare with: it is a half, which moves nobody.
        """
        percent = psutil.cpu_percent(interval=None)
        if not self._is_primed:
            self._is_primed = True
            return 0.5
        return min(1.0, percent / 100.0)
