"""What the daemon was told: flags and daemon.json, merged and checked."""

from compatd.config.config import Config, load
from compatd.config.document import ConfigError

__all__ = ["Config", "ConfigError", "load"]
