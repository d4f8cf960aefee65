"""Options about networks, addresses and names."""

from compatd.config.option import option

_NO_PROXY = "there is no proxy program: what the kernel cannot translate is relayed by ourselves; remove it"

ROWS = (
    option("bridge", "string", "", "Attach containers to a network bridge", short="b"),
    option("bip", "string", "", "IPv4 address for the default bridge"),
    option("bip6", "string", "", "IPv6 address for the default bridge"),
    option("fixed-cidr", "string", "", "IPv4 subnet for the default bridge network"),
    option("fixed-cidr-v6", "string", "", "IPv6 subnet for the default bridge network"),
    option("default-gateway", "ip", "", "Default gateway IPv4 address for the default bridge network"),
    option("default-gateway-v6", "ip", "", "Default gateway IPv6 address for the default bridge network"),
    option("ipv6", "bool", False, "Enable IPv6 networking for the default bridge network"),
    option("icc", "bool", True, "Enable inter-container communication for the default bridge network"),
    option("ip", "ip", "0.0.0.0", "Host IP for port publishing from the default bridge network"),
    option("ip-masq", "bool", True, "Enable IP masquerading for the default bridge network"),
    option("ip-forward", "bool", True, "Enable IP forwarding in system configuration"),
    option(
        "ip-forward-no-drop",
        "bool",
        False,
        "Do not set the filter-FORWARD policy to DROP when enabling IP forwarding",
    ),
    option("iptables", "bool", True, "Enable addition of iptables rules"),
    option("ip6tables", "bool", True, "Enable addition of ip6tables rules"),
    option(
        "firewall", "string", "", "respect-host: published ports obey the host's own rules", on_line=False
    ),
    option(
        "firewall-backend",
        "string",
        "",
        "Firewall backend to use, iptables or nftables",
        idle="rules are always made with nftables; remove it",
    ),
    option(
        "allow-direct-routing",
        "bool",
        False,
        "Allow remote access to published ports on container IP addresses",
    ),
    option(
        "bridge-accept-fwmark",
        "string",
        "",
        "In bridge networks, accept packets with this firewall mark/mask",
    ),
    option("mtu", "int", 1500, 'Set the MTU for the default "bridge" network'),
    option(
        "default-address-pools",
        "pools",
        [],
        "Default address pools for node specific local networks",
        flag="default-address-pool",
    ),
    option("default-network-opts", "mapmap", {}, "Default network options", flag="default-network-opt"),
    option("dns", "addresses", [], "DNS server to use"),
    option("dns-opts", "list", [], "DNS options to use", flag="dns-opt"),
    option("dns-search", "domains", [], "DNS search domains to use"),
    option(
        "host-gateway-ips",
        "addresses",
        [],
        "IP addresses that the special 'host-gateway' string in --add-host resolves to. "
        "Defaults to the IP addresses of the default bridge",
        flag="host-gateway-ip",
    ),
    option("host-gateway-ip", "ip", "", "The older name of host-gateway-ips", on_line=False),
    option("userland-proxy", "bool", True, "Use userland proxy for loopback traffic"),
    option("userland-proxy-path", "string", "", "Path to the userland proxy binary", idle=_NO_PROXY),
    option(
        "network-control-plane-mtu",
        "int",
        1500,
        "Network Control plane MTU",
        idle="networks have no control plane here; remove it",
    ),
    option(
        "network-diagnostic-port",
        "int",
        0,
        "TCP port number of the network diagnostic server",
        hidden=True,
        idle="there is no diagnostic server; remove it",
    ),
)
