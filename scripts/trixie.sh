# Debian 13's Docker, beside what is installed: dockerd 26.1 and the command line with its plugins, unpacked below
# .cache/trixie of this checkout. Nothing is installed, and the machine's apt learns nothing of Debian 13.
# Sourced, not run; `scripts/setup --test` fetches it, `scripts/real-dockerd` and the tests use it.

# What is held against: these releases, whatever Debian fixes in them. libc6 and libseccomp2 are for runc alone.
TRIXIE_PACKAGES=('docker.io=26.1.*' 'docker-cli=26.1.*' 'containerd=1.7.*' 'runc=1.1.*' 'docker-compose=2.26.*'
    'docker-buildx=0.13.*' 'libc6=2.41-*' 'libseccomp2=2.6.*')

trixie_root=$(dirname -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")")
TRIXIE=$trixie_root/.cache/trixie
TRIXIE_CLI=$TRIXIE/usr/bin/docker
TRIXIE_PLUGINS=$TRIXIE/usr/libexec/docker/cli-plugins

# runc is bound to the place of its libraries.
trixie_stamp() { echo "$TRIXIE ${TRIXIE_PACKAGES[*]}"; }

have_trixie() { [ "$(cat "$TRIXIE/complete" 2>/dev/null)" = "$(trixie_stamp)" ]; }

# The mirror that this machine's apt has its Debian from.
debian_mirror() {
    local format='$(CODENAME) $(LABEL) $(REPO_URI)' codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format "$format" 'Created-By: Packages' |
        awk -v name="$codename" '$1 == name && $2 == "Debian" {print $3; exit}'
}

# fetch_trixie: 0 when it is there. Says what went wrong otherwise.
fetch_trixie() {
    have_trixie && return
    mkdir -p "$trixie_root/.cache"
    # One at a time: the others find it done.
    (flock 9 && { have_trixie || unpack_trixie; }) 9>"$trixie_root/.cache/lock"
}

unpack_trixie() {
    local work=$TRIXIE.new keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror options loader package
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || { apt-get update -q && mirror=$(debian_mirror); }
    [ -n "$mirror" ] || { echo "apt knows no mirror of Debian" >&2; return 1; }
    rm -rf -- "$work" "$TRIXIE"
    mkdir -p "$work"/apt/{lists,archives}/partial
    touch "$work/apt/status"
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\n' "$mirror" >"$work/apt/trixie.sources"
    [ ! -e "$keyring" ] || echo "Signed-By: $keyring" >>"$work/apt/trixie.sources"
    options=(-q -o Dir::Etc::SourceList="$work/apt/trixie.sources" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::Etc::Preferences=/dev/null -o Dir::State="$work/apt"
        -o Dir::State::Status="$work/apt/status" -o Dir::Cache="$work/apt" -o Acquire::Languages=none
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update -o APT::Update::Error-Mode=any || return
    (cd "$work/apt/archives" && apt-get "${options[@]}" download "${TRIXIE_PACKAGES[@]}") || return
    for package in "$work"/apt/archives/*.deb; do dpkg-deb -x "$package" "$work" || return; done
    rm -rf -- "$work/apt"
    # runc alone needs a newer libc than Debian 12 has. It runs itself anew, so no wrapper would do: it is told where
    # its loader and libraries are.
    loader=$(cd "$work" && find usr/lib -name 'ld-linux-*.so.*' | head -n 1)
    patchelf --set-interpreter "$TRIXIE/$loader" --force-rpath --set-rpath "$TRIXIE/$(dirname "$loader")" \
        "$work/usr/sbin/runc" || return
    trixie_stamp >"$work/complete" && mv "$work" "$TRIXIE" && "$TRIXIE/usr/sbin/runc" --version >/dev/null
}
