#!/bin/sh
# Runs in the guest, from the second drive, as the one job of compatd-vm.service; standard output is the host's log.
set -u
project=$(cat /mnt/tree/where)
mkdir -p "$project"
mount --bind /mnt/tree/tree "$project" || exit 1
cd "$project" || exit 1
export COMPATD_VM=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/root LC_ALL=C.UTF-8
export PATH="$project/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ip link set lo up
modprobe br_netfilter  # so that the tests of firewalls have both cases
echo "guest: Linux $(uname -r), $(systemctl --version | head -n 1), up $(cut -d' ' -f1 /proc/uptime) s"
tr '\n' '\0' </mnt/tree/arguments | xargs -0 .venv/bin/python -m pytest -p tests.vm.console -o addopts= \
    --import-mode=importlib --strict-markers -q --no-header --no-summary --tb=short -p no:cacheprovider
