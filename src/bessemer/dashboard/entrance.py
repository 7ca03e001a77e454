"""The door of the pages: signing in, signing out, and who each request is.

A browser is known by its session's cookie (``sessions``), and begins one by POST, with a bearer
token or with a one-time code in its place. The link that ``bessemer up`` prints carries such a
code in its fragment, which a browser never sends: the sign-in page's script posts it. No token is
ever in an address. Programs get a code by POST to ``CODES`` with their bearer token.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from bessemer.dashboard import origin
from bessemer.dashboard.assets import HEADERS
from bessemer.dashboard.frame import Page, Viewer, page, render
from bessemer.dashboard.html import Html, tag
from bessemer.dashboard.origin import Asked, own_path
from bessemer.dashboard.sessions import CODE_SECONDS, SESSION_SECONDS, Sessions, proof_of
from bessemer.kube.access import User
from bessemer.web.bodies import read_form
from bessemer.web.errors import Unauthenticated
from bessemer.web.guard import Guard

LOGIN, LOGOUT, CODES = "/login", "/logout", "/login/codes"
_READING = ("GET", "HEAD")
_MOST_BYTES = 1 << 16  # of a form
_REFUSED = (
    "That is no token or code of this Bessemer, or not any more: a code works once and for "
    f"{CODE_SECONDS // 60} minutes."
)


def link(host: str, port: int, code: str, path: str = "/") -> str:
    """The address that signs a browser in, and leads on to a page."""
    return f"http://{host}:{port}{LOGIN}#code={code}" + (
        f"&next={quote(path, safe='')}" if path != "/" else ""
    )


class Entrance:
    """Tells who asks, or answers instead of the page.

    Args:
        hosts: names beside the loopback's by which browsers may ask for the pages.
    """

    def __init__(self, guard: Guard, sessions: Sessions, hosts: Collection[str] = ()) -> None:
        self._guard = guard
        self._sessions = sessions
        self._hosts = frozenset(host.lower() for host in hosts)

    async def admit(self, request: Request) -> tuple[User, Viewer] | Response:
        """Who asks; a response is the whole answer."""
        refusal = self._judge(request)
        if refusal is not None:
            return refusal
        path, is_post = request.scope["path"], request.method == "POST"
        if is_post and path == CODES:
            return await self._give_code(request)
        if is_post and path == LOGIN:
            return await self._sign_in(request)
        found = await self._recognize(request)
        if path == LOGIN:
            return answer(_sign_in_page("/"), viewer=found[1] if found else None)
        if found is None:
            return answer(_sign_in_page(_asked_path(request)), 401)
        return found if request.method in _READING else await self._change(request, found[1])

    def _judge(self, request: Request) -> Response | None:
        """The refusal of what somebody else made a browser ask for; None: it is no such thing."""
        if not origin.is_known(request.headers.getlist("host"), self._hosts):
            return _refuse(421, "These pages are not known by that name", _wrong_host(request))
        # For a code only a bearer token counts, which no page elsewhere can make a browser send.
        if request.scope["path"] == CODES or origin.is_own(_asked(request)):
            return None
        return _refuse(403, "Refused", _FOREIGN)

    async def _recognize(self, request: Request) -> tuple[User, Viewer] | None:
        id_ = request.cookies.get(cookie_name(request), "")
        session = self._sessions.find(id_) if id_ else None
        if session is None:
            return None
        try:
            user = await self._guard.recognize(session.token)
        except Unauthenticated:  # its account is gone, or the token has ended
            self._sessions.end(id_)
            return None
        return user, Viewer(user.name, proof_of(id_))

    async def _give_code(self, request: Request) -> Response:
        """A code for the bearer of a token. No cookie counts, so no page can ask for one."""
        try:
            user = await self._guard.identify(request)
        except Unauthenticated as error:
            return JSONResponse({"error": str(error)}, 401, HEADERS)
        token = request.headers["authorization"].partition(" ")[2].strip()
        code = self._sessions.issue_code(user, token)
        return JSONResponse({"code": code, "expiresInSeconds": CODE_SECONDS}, headers=HEADERS)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request, _MOST_BYTES)
        secret, target = form.get("secret", "").strip(), own_path(form.get("next", "/"))
        token = self._sessions.redeem(secret) or secret
        try:
            user = await self._guard.recognize(token)
        except Unauthenticated:
            # Who is signed in may open an old link again.
            if await self._recognize(request) is not None:
                return RedirectResponse(target, 303, HEADERS)
            return answer(_sign_in_page(target, _REFUSED), 401)
        self._sessions.end(request.cookies.get(cookie_name(request), ""))
        response = RedirectResponse(target, 303, HEADERS)
        response.set_cookie(
            cookie_name(request),
            self._sessions.begin(user, token),
            max_age=SESSION_SECONDS,
            httponly=True,
            # A link from elsewhere, such as kfp's in a notebook, finds who is signed in. What
            # changes something is held to ``origin`` as well.
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    async def _change(self, request: Request, viewer: Viewer) -> Response:
        """What a form of ours asks for: so far, to sign out."""
        form = await read_form(request, _MOST_BYTES)
        if not hmac.compare_digest(form.get("proof", "").encode(), viewer.proof.encode()):
            return _refuse(403, "Refused", _FOREIGN)
        if request.scope["path"] != LOGOUT:
            return _refuse(405, "Nothing to change", "This page can only be read.")
        self._sessions.end(request.cookies.get(cookie_name(request), ""))
        response = RedirectResponse(LOGIN, 303, HEADERS)
        response.delete_cookie(cookie_name(request), httponly=True, samesite="lax")
        return response


_FOREIGN = (
    "Another site or program made your browser ask for this, so nothing was done. "
    "Open these pages and try again from there."
)


def cookie_name(request: Request) -> str:
    """One for each port: a browser sends a host's cookies to all its ports."""
    port = (request.scope.get("server") or ("", 0))[1]
    return f"bessemer-{port}"


def answer(content: Page, status: int = 200, *, viewer: Viewer | None = None) -> Response:
    """A page in its frame."""
    return Response(render(content, viewer), status, HEADERS, "text/html")


def _asked(request: Request) -> Asked:
    headers = request.headers
    return Asked(
        request.method,
        headers.get("host", ""),
        headers.get("origin", ""),
        headers.get("sec-fetch-site", ""),
        headers.get("sec-fetch-mode", ""),
        headers.get("sec-fetch-dest", ""),
    )


def _asked_path(request: Request) -> str:
    path = quote(request.scope["path"], safe="/:@!$&'()*+,;=~")
    query = request.scope["query_string"].decode("latin-1")
    return own_path(f"{path}?{query}" if request.method == "GET" and query else path)


def _wrong_host(request: Request) -> str:
    name = origin.host_name(request.headers.get("host", ""))
    return (
        f"They answer to 127.0.0.1 and localhost, but were asked for as {name[:80]!r}. To open "
        "them by that name, set BESSEMER_HOSTS to it before `bessemer up`."
    )


def _refuse(status: int, title: str, words: str) -> Response:
    content = page(f"{status}", tag("section", tag("h1", f"{status}: {title}"), tag("p", words)))
    return answer(content, status)


def _sign_in_page(target: str, problem: str = "") -> Page:
    field = tag(
        "input",
        name="secret",
        type="password",
        autocomplete="current-password",
        required="",
        autofocus="",
        id="secret",
    )
    onward = tag("input", name="next", type="hidden", value=target)
    label = tag("label", "Token or code", for_="secret")
    button = tag("button", "Sign in")
    form = tag(
        "form",
        *(label, field, onward, button),
        method="post",
        action=LOGIN,
        id="login",
    )
    words = tag(
        "p",
        "Open the link that ",
        tag("code", "bessemer open"),
        " prints, or put in the BESSEMER_TOKEN that ",
        tag("code", "bessemer env"),
        " prints, or the token of a service account.",
    )
    told: Html | None = tag("p", problem, class_="error", role="alert") if problem else None
    return page("Sign in", tag("section", tag("h1", "Sign in"), told, words, form))
