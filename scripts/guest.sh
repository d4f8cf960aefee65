# Shared by test-vm and test-deb: a Debian guest under QEMU, without KVM and without a network. Sourced, not run.
# Needs PROJECT (the checkout). Who sources it has CACHE, TIMEOUT and, after `open_work`, WORK.

CACHE=${COMPATD_VM_CACHE:-${XDG_CACHE_HOME:-/var/cache}/compatd-vm}
TIMEOUT=${COMPATD_VM_TIMEOUT:-3000}
QEMU=

die() { echo "${0##*/}: $*" >&2; exit 1; }

need() {  # need COMMAND=PACKAGE...: installs the packages whose commands are missing
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

cleanup() {
    if [ -n "$QEMU" ]; then kill -KILL "$QEMU" 2>/dev/null || true; fi
    rm -rf --one-file-system "$WORK"
}

open_work() {  # a folder of this run, taken away at the end
    [ "$(id -u)" = 0 ] || die "needs root (mmdebstrap, and the files' owners)"
    need qemu-system-x86_64=qemu-system-x86 mmdebstrap=mmdebstrap mkfs.ext4=e2fsprogs git=git
    mkdir -p "$CACHE"
    WORK=$(mktemp -d "$CACHE/run.XXXXXX")
    trap cleanup EXIT
    trap 'exit 1' INT TERM
}

# image NAME: makes the folder $IMAGE of that name in the cache by `make_image DIR`, once.
image() {
    IMAGE="$CACHE/$1"
    exec 9>"$CACHE/lock"
    flock 9
    if [ ! -e "$IMAGE/root.ext4" ]; then
        echo "${0##*/}: making the guest's image in $IMAGE"
        mkdir "$WORK/image"
        make_image "$WORK/image"
        rm -rf "$IMAGE"
        mv "$WORK/image" "$IMAGE"
    fi
    flock -u 9
    touch "$IMAGE"
    # What a killed run left, and images of recipes that nobody uses any more.
    find "$CACHE" -mindepth 1 -maxdepth 1 -type d \( -name 'run.*' -mtime +1 -o -mtime +30 \) -exec rm -rf {} +
}

# root_tree ROOT RELEASE PACKAGES: a Debian with the unit that runs the tests at boot
root_tree() {
    mmdebstrap --quiet --variant=minbase --components=main --include="$3" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$2" "$1"
    install -m 644 "$PROJECT/tests/vm/guest.service" "$1/etc/systemd/system/compatd-vm.service"
    chroot "$1" systemctl --quiet enable compatd-vm.service
    # A getty's hangup would cut the console.
    chroot "$1" systemctl --quiet mask serial-getty@ttyS0.service serial-getty@ttyS1.service getty@tty1.service \
        apparmor.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer \
        systemd-networkd-wait-online.service
    echo compatd-vm >"$1/etc/hostname"
    printf '127.0.0.1 localhost compatd-vm\n::1 localhost\n' >"$1/etc/hosts"
    : >"$1/etc/fstab"
}

# root_disk DIR: DIR/root as root.ext4, vmlinuz and initrd in DIR
root_disk() {
    local root="$1/root"
    cp "$root"/boot/vmlinuz-* "$1/vmlinuz"
    cp "$root"/boot/initrd.img-* "$1/initrd"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/boot/initrd.img-*
    truncate -s 4G "$1/root.ext4"
    mkfs.ext4 -q -F -L root -O ^has_journal -E lazy_itable_init=1 -d "$root" "$1/root.ext4"
    rm -rf "$root"
}

# boot DRIVE_OPTIONS: runs the guest until it turns itself off, with $WORK/tree.ext4 as second drive; its results are
# printed as they come. Exit code 0 when its last line says that all passed.
boot() {
    local deadline running=false last tail
    : >"$WORK/console"
    : >"$WORK/results"
    TMPDIR="$WORK" qemu-system-x86_64 \
        -machine q35 -accel "${COMPATD_VM_ACCEL:-tcg,thread=multi}" -cpu "${COMPATD_VM_CPU:-max}" -smp 2 -m 2048 \
        -display none -nodefaults -no-reboot -nic none -device virtio-rng-pci \
        -serial "file:$WORK/console" -serial "file:$WORK/results" \
        -drive "$1" -drive "file=$WORK/tree.ext4,if=virtio,format=raw,snapshot=on" \
        -kernel "$IMAGE/vmlinuz" -initrd "$IMAGE/initrd" \
        -append "root=/dev/vda rw console=ttyS0 panic=-1 systemd.unified_cgroup_hierarchy=1 mitigations=off quiet" \
        </dev/null >"$WORK/qemu.log" 2>&1 9>&- &
    QEMU=$!
    tail --pid=$QEMU -n +1 -F "$WORK/results" 2>/dev/null 9>&- &
    tail=$!
    deadline=$((SECONDS + TIMEOUT))
    while kill -0 $QEMU 2>/dev/null && [ $SECONDS -lt $deadline ]; do sleep 1; done
    if kill -0 $QEMU 2>/dev/null; then running=true; kill -KILL $QEMU; fi
    wait $QEMU 2>/dev/null || true
    QEMU=
    wait $tail 2>/dev/null || true
    last=$(tr -d '\r' <"$WORK/results" | grep -a . | tail -n 1 || true)
    if [[ $last =~ ^[0-9]+\ passed,\ [0-9]+\ failed$ ]]; then
        case $last in
            "0 passed"*) return 1 ;;
            *", 0 failed") return 0 ;;
            *) return 1 ;;
        esac
    fi
    $running && echo "${0##*/}: no result within $TIMEOUT s" >&2
    echo "${0##*/}: the guest gave no result; the end of its console:" >&2
    tail -n 40 "$WORK/console" "$WORK/qemu.log" >&2
    return 1
}
