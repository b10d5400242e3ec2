"""What the modules that ask a hub by its API take in common, and the way in that comes of it."""

from __future__ import annotations

import functools
import typing as t

from ansible.module_utils.swarmhub.probe_session import HTTPX_ERROR, HubError, TokenSession, tls_context

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def hub_arguments(**further: t.Any) -> dict[str, t.Any]:
    """Return a module's arguments: the hub's address, a token, certificates to trust, and ``further`` ones."""
    return {
        "url": {"type": "str", "required": True},
        "api_token": {"type": "str", "required": True, "no_log": True},
        "ca_paths": {"type": "list", "elements": "path", "default": []},
        **further,
    }


def hub_session(
    module: AnsibleModule, *, start_timeout: float = 0, request_timeout: float = 30
) -> t.Callable[[str], TokenSession]:
    """Return what opens a session for an account; the module fails where the controller lacks something for it.

    Args:
        module: one with ``hub_arguments``.
        start_timeout: seconds that a server may take to be there, or gone.
        request_timeout: seconds without a byte after which a request is given up.
    """
    if HTTPX_ERROR:
        module.fail_json(msg=f"the Python library httpx is missing on this machine: {HTTPX_ERROR}")
    given = module.params
    try:
        tls = tls_context(given["ca_paths"], validate=True)
    except HubError as error:
        module.fail_json(msg=str(error))
    timeouts: dict[str, t.Any] = {"start_timeout": start_timeout, "request_timeout": request_timeout}
    return functools.partial(TokenSession, given["url"], token=given["api_token"], tls=tls, **timeouts)
