"""Errors on the road to execve, with the texts that runc 1.1 gives (clients parse them)."""

from __future__ import annotations

import os

PREFIX = "unable to start container process: "
DURING_INIT = "error during container init: "


class InitError(Exception):
    """`str()` is the whole text, as runc prints it after `runc create failed: `.

    `enter` puts `exec failed: ` in front as runc's exec does.
    """


class StepError(Exception):
    """Raised inside the child with the text of one step; the parent turns it into an InitError."""


class UserError(StepError):
    """A user or group that the container's files do not have: dockerd says it without a prefix."""


def reason(error: OSError) -> str:
    """The error's text in lower case, as Go writes it: `no such file or directory`."""
    text = os.strerror(error.errno or 0)
    return text[:1].lower() + text[1:]
