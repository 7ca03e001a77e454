"""Whether a request is one that these pages' own user meant. Pure.

Browsers send a host's cookies to it whoever made the request: another site, a pod's page on
another port, or a name that somebody lets point to this machine. What tells them apart are the
headers that no script can set. Source: W3C Fetch Metadata; Fetch, "Origin" header; RFC 9110.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

#: By these every browser on this machine may ask.
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_READING = frozenset({"GET", "HEAD"})


class Asked(NamedTuple):
    """The parts of a request that tell where it comes from; an absent header is ""."""

    method: str
    host: str
    origin: str = ""
    site: str = ""  # Sec-Fetch-Site
    mode: str = ""  # Sec-Fetch-Mode
    destination: str = ""  # Sec-Fetch-Dest


def host_name(host: str) -> str:
    """The name in a Host header, without its port; "" when it is no such header."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_known(hosts: Sequence[str], names: Collection[str]) -> bool:
    """Whether the Host headers are one, and of a name that is ours.

    Else a page of elsewhere could let its own name point here and read what is here (rebinding).
    """
    return len(hosts) == 1 and host_name(hosts[0]) in LOOPBACK_NAMES.union(names)


def is_own(asked: Asked) -> bool:
    """Whether our own pages, or the user by the address bar or a link, made the request.

    A link from elsewhere may lead to a page of ours. All else that another origin makes a browser
    ask for is refused, and what changes something must prove that it comes from here.
    """
    is_reading = asked.method in _READING
    if asked.site not in ("", "same-origin"):
        is_visit = asked.mode == "navigate" and asked.destination == "document"
        return is_reading and (asked.site == "none" or is_visit)
    if is_reading:
        return True
    return asked.origin.lower() in (
        f"http://{asked.host.lower()}",
        f"https://{asked.host.lower()}",
    )


def own_path(text: str) -> str:
    """An address of this site, whatever the text is made of: path, query and fragment.

    Browsers read a backslash as a slash, two slashes as another host, and skip tabs and line
    ends, so nothing but plain characters is left as it is. A ``token`` in the query goes.
    """
    path, _, fragment = text.partition("#")
    path, _, query = path.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("token=")]
    address = "/" + quote(path.lstrip("/\\"), safe="/%:@!$&'()*+,;=~-._")
    if kept:
        address += "?" + quote("&".join(kept), safe="/%:@!$&'()*+,;=~-._?")
    if fragment:
        address += "#" + quote(fragment, safe="/%:@!$&'()*+,;=~-._?")
    return address
