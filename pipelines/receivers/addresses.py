"""Networks that may connect to a receiver."""

import ipaddress
from collections.abc import Iterable

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def networks(texts: Iterable[str]) -> Networks:
    """Networks of their texts, `10.20.0.0/16` or one address; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_among(address: str, allowed: Networks) -> bool:
    """Say whether an IP address is in one of the networks; none named means that any may connect."""
    own = ipaddress.ip_address(address)
    # A socket of both families tells IPv4 peers as ::ffff:10.20.1.5.
    plain = getattr(own, "ipv4_mapped", None) or own
    return not allowed or any(plain in network for network in allowed)
