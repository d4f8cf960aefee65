"""What either end of a connection tells the other at its begin."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from compatd.engine.builder.buildkit.wire.streams import WINDOW

FRAME = 1 << 16  # bytes of a frame that is taken
STREAMS = 250  # a client's at once, as Go's servers have it
HEADER_LIST = 1 << 18  # bytes of a head: BuildKit's clients put lists of patterns there


def begin(*, client: bool) -> H2Connection:
    """`h2`'s connection, with the first bytes to send."""
    h2 = H2Connection(H2Configuration(client_side=client, header_encoding=None))
    values: dict[SettingCodes, int] = {
        SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
        SettingCodes.MAX_FRAME_SIZE: FRAME,
        SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST,
    }
    if client:
        values[SettingCodes.ENABLE_PUSH] = 0
    else:
        values[SettingCodes.MAX_CONCURRENT_STREAMS] = STREAMS
    h2.local_settings = Settings(client=client, initial_values=values)
    h2.initiate_connection()
    h2.max_inbound_frame_size = FRAME
    h2.decoder.max_header_list_size = HEADER_LIST
    return h2
