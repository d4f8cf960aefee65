"""What `docker info` warns of about the API's addresses."""

from compatd.config import Config

_EQUIVALENT = (
    "\n         Access to the remote API is equivalent to root access on the host. Refer"
    "\n         to the 'Docker daemon attack surface' section in the documentation for"
    "\n         more information: https://docs.docker.com/go/attack-surface/"
)
_REMOVAL = (
    "\nIn future versions this will be a hard failure preventing the daemon from starting! "
    "Learn more at: https://docs.docker.com/go/api-security/"
)


def warnings(config: Config) -> list[str]:
    """One for each TCP address that anybody may use."""
    found = []
    for host in config.hosts:
        scheme, _, address = host.partition("://")
        if scheme != "tcp":
            continue
        if not config.tls:
            what = f"http://{address} without encryption."
        elif config.tlsverify is False:
            what = f"https://{address} without TLS client verification."
        else:
            continue
        found.append(f"[DEPRECATION NOTICE]: API is accessible on {what}{_EQUIVALENT}{_REMOVAL}")
    return found
