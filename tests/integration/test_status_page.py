"""The status page as a browser shows it, and metrics over the wire."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.browser import Browser, a_browser
from tests.integration.daemon import Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root
ADDRESS = "127.0.0.1:9323"
EVIL = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"


@pytest.fixture(scope="module")
def ours() -> Iterator[Daemon]:
    with running_daemon("--metrics-addr", ADDRESS) as started:
        started.image()
        yield started


def inside(ours: Daemon) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{ours.name}"]


def metrics(ours: Daemon) -> dict[str, float]:
    command = [*inside(ours), "curl", "-sS", "--fail", f"http://{ADDRESS}/metrics"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


@pytest.fixture(scope="module")
def browser(ours: Daemon) -> Iterator[Browser]:
    if shutil.which("chromium") is None:  # in the guest of tests/vm
        pytest.skip("chromium is missing: run scripts/setup --test")
    with a_browser(inside(ours)) as found:
        found.open(f"http://{ADDRESS}/")
        wait_until(lambda: found.run("document.readyState === 'complete' && before !== null"), "the page")
        yield found


def shown(browser: Browser, element: str) -> str:
    return str(browser.run(f"document.getElementById({json.dumps(element)}).innerText"))


def test_metrics_count_what_is_done(ours: Daemon) -> None:
    start = 'engine_daemon_container_actions_seconds_count{action="start"}'
    before = metrics(ours)
    check = {"Test": ["CMD", "true"], "Interval": 10_000_000, "Timeout": 60_000_000_000}
    name = ours.run(["sleep", "100000"], Healthcheck=check)
    wait_until(lambda: metrics(ours)["engine_daemon_health_checks_total"] > 0, "a health check")
    after = metrics(ours)
    assert after[start] == before[start] + 1
    running = 'engine_daemon_container_states_containers{state="running"}'
    assert after[running] == before[running] + 1
    assert after['engine_daemon_network_actions_seconds_count{action="allocate"}'] >= 1
    assert after["engine_daemon_events_total"] > before["engine_daemon_events_total"]
    assert after["engine_daemon_health_checks_failed_total"] == 0
    ours.call("DELETE", f"/containers/{name}?force=1")
    assert metrics(ours)[running] == before[running]


def test_the_page_shows_the_engine(ours: Daemon, browser: Browser) -> None:
    labels = {"evil": EVIL}
    name = ours.run(
        ["sh", "-c", f"echo '{EVIL}'; sleep 100000"], "page-web", Labels=labels, Env=[f"EVIL={EVIL}"]
    )
    ours.call("POST", "/volumes/create", {"Name": "page-volume", "Labels": labels})
    ours.call("POST", "/networks/create", {"Name": "page-network", "Labels": labels})
    wait_until(lambda: "page-web" in shown(browser, "containers"), "the container")
    wait_until(lambda: "page-volume" in shown(browser, "volumes"), "the volume")
    wait_until(lambda: "page-network" in shown(browser, "networks"), "the network")
    assert "box:latest" in shown(browser, "images")
    graphs = "document.querySelectorAll('#containers td svg polyline[points]').length"
    wait_until(lambda: browser.run(graphs) >= 2, "graphs of the container")
    many = "document.querySelector('#cpu polyline').getAttribute('points').split(' ').length"
    wait_until(lambda: browser.run(many) >= 2, "the machine's graph to grow")
    wait_until(lambda: browser.run("document.getElementById('events').dataset.open") == "yes", "the stream")
    ours.call("POST", f"/containers/{name}/pause")
    wait_until(lambda: "container pause" in shown(browser, "events"), "the event")
    wait_until(lambda: "(Paused)" in shown(browser, "containers"), "the state")
    ours.call("DELETE", f"/containers/{name}?force=1")
    wait_until(lambda: "page-web" not in shown(browser, "containers"), "the removal")
    assert EVIL not in str(browser.run("document.documentElement.outerHTML"))
    assert shown(browser, "trouble") == ""
    assert browser.complaints == []


def test_names_are_text_whatever_they_are(browser: Browser) -> None:
    """Nothing lets such names in today; if something does one day, they are still no markup."""
    item: dict[str, Any] = {"name": EVIL, "driver": EVIL, "created": EVIL, "subnets": [EVIL], "tags": [EVIL]}
    item |= {
        "id": EVIL,
        "image": EVIL,
        "state": f"{EVIL} running",
        "status": EVIL,
        "ports": [EVIL],
        "size": EVIL,
    }
    item |= {"cpu": 1, "memory": 1, "limit": 1}
    script = (
        f"(() => {{ const item = {json.dumps(item)}, now = structuredClone(before);"
        "now.engine.name = item.name; now.engine.system = item.name;"
        "for (const kind of ['containers', 'images', 'networks', 'volumes']) now[kind] = [item]; show(now);"
        "return [document.querySelectorAll('img').length, document.querySelectorAll('script').length,"
        "window.pwned === undefined, document.getElementById('containers').innerText,"
        "document.querySelectorAll('tbody [onerror]').length]; })()"
    )
    images, scripts, safe, text, handlers = browser.run(script)
    assert (images, scripts, safe, handlers) == (0, 1, True, 0)
    assert EVIL in text


def test_markup_is_refused_by_the_policy_too(browser: Browser) -> None:
    refused = "(() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } })()"
    assert browser.run(refused)


def test_it_can_be_used_without_seeing(browser: Browser) -> None:
    """What a reader of screens needs: language, headings in order, header cells, names of graphs."""
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert browser.run("document.querySelectorAll('table th:not([scope])').length") == 0
    nameless = "document.querySelectorAll('svg:not([aria-label]):not([aria-labelledby])').length"
    assert browser.run(nameless) == 0
    unnamed = (
        "[...document.querySelectorAll('section')].filter("
        "section => !document.getElementById(section.getAttribute('aria-labelledby')))"
    )
    assert browser.run(f"{unnamed}.length") == 0
    assert browser.run("getComputedStyle(document.documentElement).colorScheme") == "light dark"
