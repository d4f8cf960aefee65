"""What the daemon was told: flags and daemon.json, merged and checked."""

from compatd.config.config import Config, ConfigError, load

__all__ = ["Config", "ConfigError", "load"]
