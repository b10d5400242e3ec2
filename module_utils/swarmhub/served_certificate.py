"""Which certificate is shown to those who come, beside the one that should be."""

from __future__ import annotations

import hashlib
import ssl
import time

HOST = "127.0.0.1"
INTERVAL = 0.5
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def fingerprint(pem: str) -> str:
    """Return the SHA-256 fingerprint of the first certificate in a text, as ``openssl x509 -fingerprint`` writes it.

    Raises:
        ValueError: there is none.
    """
    begin, end = pem.find(BEGIN), pem.find(END)
    if not 0 <= begin < end:
        raise ValueError("there is no certificate in PEM form in it")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(END)])).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)).upper()


def fault(port: int, pem: str, timeout: float) -> str:
    """Wait until this host shows the first certificate of a text; say what it does instead, "" when it does.

    Args:
        port: of this host, for TLS.
        pem: the certificate, with its chain.
        timeout: in seconds.

    Raises:
        ValueError: there is no certificate in the text.
    """
    wanted = fingerprint(pem)
    deadline = time.monotonic() + timeout
    while True:
        try:
            shown = fingerprint(ssl.get_server_certificate((HOST, port), timeout=5))
        except OSError as error:
            found = f"shows no certificate at port {port}: {error}"
        else:
            if shown == wanted:
                return ""
            found = f"shows another certificate at port {port} (SHA-256 {shown}) than the file has ({wanted})"
        if time.monotonic() >= deadline:
            return found
        time.sleep(INTERVAL)
