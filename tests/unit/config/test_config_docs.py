"""docs/configuration.md names every key, and says of those without effect what the log says."""

from pathlib import Path

from compatd.config.options import OPTIONS

TEXT = (Path(__file__).parents[3] / "docs/configuration.md").read_text()


def test_every_key_is_documented() -> None:
    for option in OPTIONS:
        assert f"`{option.key}`" in TEXT, option.key
        if option.idle:
            assert f"| `{option.key}` | {option.idle} |" in TEXT
        else:
            assert f"`{option.key}` ↻" in TEXT if option.reloads else f"`{option.key}` ↻" not in TEXT
