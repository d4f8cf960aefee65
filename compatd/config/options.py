"""The daemon's options as data: dockerd's flags and daemon.json keys, one row each, and a few of our own.

Source: `dockerd --help` and the keys that dockerd 28 and 29 read. The rows are in `table_*`.
"""

from compatd.config import table_containers, table_daemon, table_network
from compatd.config.option import Option

OPTIONS: tuple[Option, ...] = (*table_daemon.ROWS, *table_containers.ROWS, *table_network.ROWS)
BY_KEY = {row.key: row for row in OPTIONS if row.in_file}
BY_FLAG = {row.flag: row for row in OPTIONS if row.on_line}
RELOADS = tuple(row.key for row in OPTIONS if row.reloads)
