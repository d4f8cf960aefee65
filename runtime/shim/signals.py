"""Signal handling without the module `signal`, which turns every number into an enum: time and memory."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

SIG_DFL, SIG_IGN = _signal.SIG_DFL, _signal.SIG_IGN
SIGCHLD: int = _signal.SIGCHLD
SIGINT: int = _signal.SIGINT
SIGKILL: int = _signal.SIGKILL
#: As `signal.signal` and `signal.set_wakeup_fd`.
handle = _signal.signal
set_wakeup_fd = _signal.set_wakeup_fd
