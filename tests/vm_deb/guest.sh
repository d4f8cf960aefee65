#!/bin/sh
# Runs in the guest, from the second drive, with the distribution's own Python and pytest.
set -u
cd /mnt/tree/tree || exit 1
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/root LC_ALL=C.UTF-8 COMPATD_DEB=1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up
echo "guest: Linux $(uname -r), $(systemctl --version | head -n 1), $(python3 -V), up $(cut -d' ' -f1 /proc/uptime) s"
tr '\n' '\0' </mnt/tree/arguments | xargs -0 python3 -m pytest -p tests.vm.console -o addopts= \
    -o markers="root: needs root" --strict-markers -q --no-header --no-summary --tb=short -p no:cacheprovider
sync
