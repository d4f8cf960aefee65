# Shared by real-dockerd and our-daemon: a daemon in a network namespace, a mount namespace and a cgroup parent
# of its own, so that its bridge, firewall rules, mounts and cgroups mix with nobody else's and can all be
# taken away at the end. Sourced, not run.

# shellcheck source=scripts/trixie.sh
. "$here/trixie.sh"

die() { echo "${0##*/}: $*" >&2; exit 1; }

# layout DIR: names everything that belongs to one daemon.
layout() {
    DIR=$(realpath -m -- "$1")
    # 108 bytes are all that a unix socket's address may have.
    [ ${#DIR} -le 60 ] || die "$DIR: choose a folder with a shorter path (60 characters)"
    local hash
    hash=$(printf %s "$DIR" | sha256sum | cut -c1-8)
    NETNS="dk-$hash"
    CGROUP="docker-$hash"
    SOCKET="$DIR/docker.sock"
}

show_env() {
    [ -S "$SOCKET" ] || die "no daemon runs in $DIR"
    echo "export DOCKER_HOST=unix://$SOCKET"
    echo "export CONFORMANCE_NETNS=$NETNS"
    [ ! -d "$DIR/certs.d" ] || echo "export CONFORMANCE_CERTS=$DIR/certs.d"
    if have_trixie; then
        echo "export CONFORMANCE_ALSO_CLI=$TRIXIE_CLI"
        echo "export CONFORMANCE_PLUGINS=$TRIXIE_PLUGINS"
    fi
}

make_netns() {
    mkdir -p "$DIR"
    ip netns add "$NETNS"
    ip -n "$NETNS" link set lo up
}

# isolated COMMAND...: runs it in the daemon's namespaces, as a session of its own. Whatever it starts is known
# by the first folder of its PATH.
#
# PURE_V1=1: the daemon does not see a cgroup v2 hierarchy beside v1's controllers: crun up to 1.8 refuses that.
isolated() {
    mkdir -p "$DIR/bin"
    # Where the machine has a folder /etc/docker, the daemon sees another one, with certs.d in DIR.
    local own='if [ -d /etc/docker ]; then
        mkdir -p "$0/etc" "$0/certs.d" && mount --bind "$0/etc" /etc/docker &&
            mkdir -p /etc/docker/certs.d && mount --bind "$0/certs.d" /etc/docker/certs.d || exit
    fi
    if [ "${PURE_V1:-}" = 1 ] && mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified || exit; fi
    exec "$@"'
    PATH="$DIR/bin:$PATH" setsid nsenter --net="/run/netns/$NETNS" unshare --mount --propagation slave -- \
        sh -c "$own" "$DIR" "$@" \
        </dev/null >>"$DIR/daemon.log" 2>&1 &
    echo $! >"$DIR/supervisor.pid"
}

# await_daemon SECONDS: returns when the socket answers /_ping.
await_daemon() {
    local deadline=$((SECONDS + $1)) pid
    pid=$(cat "$DIR/supervisor.pid")
    until curl -fs --max-time 5 --unix-socket "$SOCKET" http://d/_ping >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            tail -n 30 "$DIR/daemon.log" >&2
            take_away
            die "the daemon did not come up in $DIR"
        fi
        sleep 0.1
    done
}

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# await_exit PID SECONDS
await_exit() {
    local deadline=$((SECONDS + $2))
    while alive "$1" && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
    ! alive "$1"
}

cgroup_folders() {
    find /sys/fs/cgroup -maxdepth 3 -type d -name "$CGROUP" 2>/dev/null
}

# The processes of this daemon: those in its network namespace, in its containers' cgroups, and those that have
# inherited its PATH (shims of containers with networks of their own, a zygote).
our_pids() {
    {
        ip netns pids "$NETNS" 2>/dev/null
        cgroup_folders | while read -r folder; do
            find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null
        done
        grep -lzF -- "PATH=$DIR/bin:" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
    } | sort -un | grep -vx -e 0 -e $$ || true
}

# take_away: whatever is left of a daemon: processes, cgroups, mounts, network namespace.
take_away() {
    local round pids folder
    for round in $(seq 100); do
        pids=$(our_pids)
        [ -n "$pids" ] || break
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        sleep 0.1
    done
    for round in $(seq 20); do
        cgroup_folders | while read -r folder; do
            find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        [ -n "$(cgroup_folders)" ] || break
        sleep 0.1
    done
    awk -v dir="$DIR/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r folder; do
        umount -l "$folder" 2>/dev/null || true
    done
    if [ -e "/run/netns/$NETNS" ]; then ip netns del "$NETNS" 2>/dev/null || true; fi
    rm -f "$SOCKET" "$DIR/supervisor.pid" "$DIR/docker.pid"
}
