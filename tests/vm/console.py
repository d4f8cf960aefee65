"""A pytest plugin for the guest's serial line: `PASS name` or `FAIL name` a check, at last the counts.

It takes the place of pytest's own report, which is made for terminals.
"""

import time

import pytest


class Console:
    """Writes to standard output at once what `scripts/test-vm` reads on the host."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self._seen: dict[str, str] = {}
        self._begin = time.monotonic()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected is a failed check; one that is skipped as a whole is told."""
        if report.failed:
            self._line("FAIL", report.nodeid, report.longreprtext)
        elif report.skipped:
            self._line("SKIP", report.nodeid, "", _reason(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown come one by one; the worst of them is the check's."""
        before = self._seen.get(report.nodeid, "")
        if report.failed and before != "FAIL":
            captured = "\n".join(f"--- {head}\n{text}" for head, text in report.sections)
            self._seen[report.nodeid] = "FAIL"
            self._line("FAIL", report.nodeid, f"{report.longreprtext}\n{captured}")
        elif report.skipped:
            self._seen[report.nodeid] = "SKIP"
            self._line("SKIP", report.nodeid, "", _reason(report))
        elif report.when == "teardown" and not before:
            self._line("PASS", report.nodeid)

    def _line(self, word: str, name: str, text: str = "", remark: str = "") -> None:
        self.passed += word == "PASS"
        self.failed += word == "FAIL"
        seconds = time.monotonic() - self._begin
        print(f"{word} {name}{remark} ({seconds:.0f} s)", *filter(None, [text.strip()]), sep="\n", flush=True)

    def pytest_internalerror(self, excrepr: object) -> None:
        """pytest itself broke."""
        self._line("FAIL", "pytest", str(excrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """The line that the host waits for."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    return f": {report.longrepr[2]}" if isinstance(report.longrepr, tuple) else ""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put ours in the place of pytest's report."""
    config.pluginmanager.register(Console())
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.unregister(terminal)
