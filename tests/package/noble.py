"""What Ubuntu 24.04 (noble) calls the packages that ours depends on, and their versions there.

From packages.ubuntu.com/noble and noble-updates. All are in its component `main`, which every installation
has. A later update only raises a version; nothing here has an upper bound but python3, which stays at 3.12.
"""

PACKAGES = {
    "adduser": "3.137ubuntu1",
    "iproute2": "6.1.0-1ubuntu6",
    "libc6": "2.39-0ubuntu8",
    "libgcc-s1": "14-20240412-0ubuntu1",
    "libseccomp2": "2.5.5-1ubuntu3",
    "libstdc++6": "14-20240412-0ubuntu1",
    "procps": "2:4.0.4-4ubuntu3",
    "python3": "3.12.3-0ubuntu2",
    "python3-systemd": "235-1build4",
    "python3-yaml": "6.0.1-2build2",
    "zlib1g": "1:1.3.dfsg-3.1ubuntu2",
}
