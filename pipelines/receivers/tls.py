"""TLS of receivers."""

import ssl


def server_context(certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """TLS of a server; with an `authority` only peers whose certificate it signed may connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if authority is not None:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
