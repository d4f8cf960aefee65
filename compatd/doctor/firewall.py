"""Other firewalls in the way of containers' packets: in nf_tables every table must accept a packet."""

import json
from collections.abc import Iterator

from compatd.config import Config
from compatd.doctor.finding import OK, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "firewall"


def check(machine: Machine, config: Config) -> Iterator[Finding]:
    """Tables that drop what is forwarded, ufw, firewalld."""
    bridge = config.bridge or "docker0"
    if config.iptables is False:
        yield Finding(
            NAME, WARNING, "iptables is false: no ports are published, nothing gets out by masquerading",
            ['remove "iptables" from /etc/docker/daemon.json, then: systemctl restart docker'],
        )  # fmt: skip
    if machine.run("firewall-cmd", "--state").code == 0:
        zone = machine.run("firewall-cmd", f"--get-zone-of-interface={bridge}").output.strip()
        if zone not in ("docker", "trusted"):
            yield Finding(
                NAME,
                WARNING,
                f"firewalld rejects what {bridge} forwards",
                [
                    f"firewall-cmd --permanent --zone=trusted --add-interface={bridge}",
                    "firewall-cmd --reload",
                ],
            )
    if "ENABLED=yes" in machine.read("/etc/ufw/ufw.conf"):
        yield Finding(
            NAME,
            WARNING,
            "ufw is on: published ports pass it by, as with dockerd",
            [
                "docker run -p 127.0.0.1:8080:80 … publishes for this machine only",
                'or set "firewall": {"respect-host": true} (docs/firewall.md)',
            ],
        )
    listing = machine.run("nft", "-j", "list", "chains")
    if listing.code == -1:
        yield Finding(NAME, OK, "no nft command to look at other tables with")
    elif listing.code != 0:
        yield Finding(NAME, OK, "other tables were not looked at: only root may (sudo compatd doctor)")
    else:
        yield from _chains(listing.output, bridge)


def _chains(text: str, bridge: str) -> Iterator[Finding]:
    try:
        items = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        return
    found = False
    for chain in (item["chain"] for item in items if "chain" in item):
        drops = chain.get("hook") == "forward" and chain.get("policy") == "drop"
        if not drops or chain["table"].startswith("compatd"):
            continue
        if (chain["family"], chain["table"], chain["name"]) == ("ip", "filter", "FORWARD"):
            continue  # the daemon lets its bridges through there by itself (docs/firewall.md)
        found = True
        name = f"{chain['family']} {chain['table']} {chain['name']}"
        yield Finding(
            NAME,
            WARNING,
            f"the chain {name} drops what it does not know: containers reach nothing, and are not reached",
            [f"nft insert rule {name} {way} {bridge} accept" for way in ("iifname", "oifname")],
        )
    if not found:
        yield Finding(NAME, OK, "no other table drops what containers send")
