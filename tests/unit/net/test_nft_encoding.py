"""nf_tables messages against bytes that `nft` 1.0.6 sent for the same rules."""

from runtime.net import nfnetlink as nf
from runtime.net import nft
from runtime.net import nft_expressions as x
from runtime.net import nft_tables as tables
from runtime.net.netlink import Request, attribute_list, attributes


def test_map_element_as_nft_writes_it() -> None:
    # add element … { 127.0.0.1 . tcp . 80 comment "x" : 172.17.0.2 . 80 }
    binding = nft.Binding("127.0.0.1", "tcp", 80, "172.17.0.2", 80, "x")
    request, _ = elements([binding])
    expected = (
        "30000180" "14000180" "10000100" "7f000001" "06000000" "00500000"
        "10000280" "0c000100" "ac110002" "00500000" "08000600" "00027800"
    )  # fmt: skip
    assert request.body.hex().endswith(expected)


def test_elements_on_all_addresses_are_keyed_by_protocol_and_port() -> None:
    request, _ = elements([nft.Binding("0.0.0.0", "udp", 53, "10.0.0.2", 53)], delete=True)
    assert b"published\0" in request.body
    assert request.kind == nf.NFNL_SUBSYS_NFTABLES << 8 | nf.DELSETELEM
    assert request.body.hex().endswith("100001800c0001001100000000350000")


def test_dnat_by_map_as_nft_writes_it() -> None:
    # dnat ip to meta l4proto . th dport map @ports
    expressions = [
        x.meta(x.META_L4PROTO),
        x.payload(x.TRANSPORT_HEADER, x.DESTINATION_PORT, 2, x.register(4)),
        x.lookup("ports", 3, into=x.REG),
        x.dnat(nf.NFPROTO_IPV4, x.register(4)),
    ]
    assert b"".join(expressions).hex() == (
        "24000180" "090001006d65746100000000" "14000280" "0800020000000010" "0800010000000001"
        "34000180" "0c0001007061796c6f616400" "24000280" "0800010000000009" "0800020000000002"
        "0800030000000002" "0800040000000002"
        "38000180" "0b0001006c6f6f6b75700000" "28000280" "0800020000000001" "0800030000000001"
        "0a000100706f727473000000" "0800040000000003"
        "30000180" "080001006e617400" "24000280" "0800010000000001" "0800020000000002"
        "0800030000000001" "0800050000000009"
    )  # fmt: skip


def test_concatenated_type_numbers() -> None:
    assert nf.concat(nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE) == 0x30D
    assert nf.concat(nf.TYPE_IPV4_ADDR, nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE) == 0x730D


def test_many_elements_are_split_below_the_attributes_limit() -> None:
    requests = nf.elements("t", "m", [nf.element(bytes(8), bytes(8), "name")] * 5000)
    assert len(requests) > 1
    assert all(len(r.body) < 65535 for r in requests)


def test_decoding_is_the_inverse() -> None:
    for version, binding in (
        (4, nft.Binding("0.0.0.0", "tcp", 8080, "172.17.0.2", 80, "web")),
        (4, nft.Binding("127.0.0.1", "udp", 53, "172.17.0.3", 5353)),
        (6, nft.Binding("::", "sctp", 8080, "fd00::2", 80, "web")),
        (6, nft.Binding("2001:db8::1", "tcp", 8080, "fd00::2", 80)),
    ):
        request, opened = elements([binding], version)
        assert request.body[0] == tables.FAMILIES[version].number
        assert b"open\0" in opened.body
        (item,) = nf_items(request.body)
        alone = binding.host_ip not in ("0.0.0.0", "::")
        assert tables.decode(item, tables.FAMILIES[version], with_address=alone) == binding


def test_what_needs_no_translation_is_only_open() -> None:
    routed = nft.Binding("0.0.0.0", "tcp", 0, "172.17.0.2", 80)
    other_family = nft.Binding("::", "tcp", 8080, "172.17.0.2", 80)
    for binding in (routed, other_family):
        (request,) = elements([binding])
        assert b"open\0" in request.body
        assert elements([binding], 6) == []


def test_ports_of_one_container_port_are_opened_once() -> None:
    ports = [nft.Binding("0.0.0.0", "tcp", number, "172.17.0.2", 80) for number in (8080, 8081)]
    published, opened = elements(ports)
    assert len(nf_items(published.body)) == 2
    assert len(nf_items(opened.body)) == 1


def test_links_hold_both_ends() -> None:
    link = nft.Link("172.17.0.2", "172.17.0.3", "tcp", 5432)
    (request,) = tables.elements(tables.FAMILIES[4], "t", [], [link], delete=False)
    assert b"links\0" in request.body
    assert "ac110002ac1100030600000015380000" in request.body.hex()
    assert tables.elements(tables.FAMILIES[6], "t", [], [link], delete=False) == []


def elements(bindings: list[nft.Binding], version: int = 4, *, delete: bool = False) -> list[Request]:
    return tables.elements(tables.FAMILIES[version], "t", bindings, [], delete=delete)


def nf_items(body: bytes) -> list[bytes]:
    return [item for _, item in attribute_list(attributes(body[4:])[3])]
