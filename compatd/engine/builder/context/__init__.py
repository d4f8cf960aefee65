"""Build contexts: folders of files, filled from tars, URLs, git repositories, or by a client's session."""

from compatd.engine.builder.context.few import FewReceiver
from compatd.engine.builder.context.folder import Context, Contexts
from compatd.engine.builder.context.receiving import Receiver

__all__ = ["Context", "Contexts", "FewReceiver", "Receiver"]
