"""Signing in and out of the pages, and what is refused at their door."""

import re

import pytest

from bessemer.dashboard.origin import Asked, is_own, own_path
from bessemer.dashboard.sessions import CODE_SECONDS, MOST_SESSIONS, SESSION_SECONDS

from .conftest import SITE, Site

COOKIE = "bessemer-8081"


async def ask_code(site: Site, token: str = "admin") -> str:
    answer = await site.http.post(
        f"{SITE}/login/codes", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["code"])


def read_proof(text: str) -> str:
    found = re.search(r'name="proof" value="([0-9a-f]+)"', text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=admin", "admin", f"{COOKIE}=guess"])
async def test_without_a_session_every_page_is_a_clear_401(site: Site, cookie: str) -> None:
    """A token is no session: not as a cookie, and not in the address, as it once was."""
    await site.add_run("r1")

    for path in ("/", "/runs/r1", "/?token=admin", "/runs/r1?token=admin", "/nothing"):
        answer = await site.http.get(f"{SITE}{path}", headers={"Cookie": cookie})
        assert answer.status_code == 401
        assert "Token or code" in answer.text
        assert f'value="{path.partition("?")[0]}"' in answer.text  # where signing in leads to
        assert "run r1" not in answer.text
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


async def test_signing_in_begins_a_session_that_is_no_token(site: Site) -> None:
    await site.add_run("r1")
    answer = await site.post("/login", {"secret": "admin", "next": "/runs/r1?first=0#log"})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs/r1?first=0#log"
    cookie = answer.headers["set-cookie"]
    name, value = cookie.partition(";")[0].split("=", 1)
    assert name == COOKIE
    assert len(value) >= 43  # 256 bits
    assert "admin" not in value
    assert {"HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={SESSION_SECONDS}"} <= set(
        cookie.split("; ")
    )
    page = await site.http.get(f"{SITE}/runs/r1", headers={"Cookie": f"{name}={value}"})
    assert "run r1" in page.text
    assert value not in page.text
    # Nor does a bearer token open a page, or a session stand for one.
    bearer = {"Authorization": f"Bearer {value}"}
    assert (await site.http.get(f"{SITE}/", headers=bearer)).status_code == 401
    assert (await site.http.post(f"{SITE}/login/codes", headers=bearer)).status_code == 401


async def test_another_ports_cookie_is_not_taken(site: Site) -> None:
    _, _, value = (await site.sign_in("admin")).partition("=")

    answer = await site.http.get(f"{SITE}/", headers={"Cookie": f"bessemer-9081={value}"})

    assert answer.status_code == 401


@pytest.mark.parametrize("secret", ["", "guess", "admin2"])
async def test_a_wrong_secret_begins_nothing(site: Site, secret: str) -> None:
    answer = await site.post("/login", {"secret": secret, "next": "/runs/r1"})

    assert answer.status_code == 401
    assert "no token or code" in answer.text
    assert 'value="/runs/r1"' in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_code_works_once_and_not_for_long(site: Site) -> None:
    code = await ask_code(site)
    assert await site.sign_in(code)
    assert (await site.post("/login", {"secret": code})).status_code == 401

    late = await ask_code(site)
    site.clock.later += CODE_SECONDS
    assert (await site.post("/login", {"secret": late})).status_code == 401


async def test_who_is_signed_in_may_open_an_old_link(site: Site) -> None:
    code = await ask_code(site)
    cookie = await site.sign_in(code)

    again = await site.post("/login", {"secret": code, "next": "/runs/r1"}, Cookie=cookie)

    assert (again.status_code, again.headers["location"]) == (303, "/runs/r1")
    assert "set-cookie" not in again.headers


async def test_a_session_may_what_its_user_may(site: Site) -> None:
    await site.add_run("r1")
    strangers = await site.sign_in(await ask_code(site, "stranger"))

    answer = await site.http.get(f"{SITE}/runs/r1", headers={"Cookie": strangers})

    assert answer.status_code == 403
    assert "run r1" not in answer.text


async def test_a_session_ends_with_its_token_by_itself_and_by_its_user(site: Site) -> None:
    gone, late = [await site.sign_in(user) for user in ("stranger", "admin")]

    site.people.known.discard("stranger")  # its account was deleted
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": gone})).status_code == 401
    site.people.known.add("stranger")  # another of that name: the session stays ended
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": gone})).status_code == 401

    site.clock.later += SESSION_SECONDS
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": late})).status_code == 401

    left = await site.sign_in("admin")
    page = await site.http.get(f"{SITE}/", headers={"Cookie": left})
    answer = await site.post("/logout", {"proof": read_proof(page.text)}, Cookie=left)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": left})).status_code == 401


async def test_a_user_has_so_many_sessions_and_ends_nobody_elses(site: Site) -> None:
    others = await site.sign_in("stranger")
    first, second = [await site.sign_in("admin") for _ in range(2)]
    for _ in range(MOST_SESSIONS - 1):
        await site.sign_in("admin")

    states = [
        (await site.http.get(f"{SITE}/", headers={"Cookie": cookie})).status_code
        for cookie in (others, first, second)
    ]

    assert states == [200, 401, 200]


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("http://elsewhere.example", {}),
        ("http://127.0.0.1:9000", {}),  # a pod's page: the same site, so its cookies come along
        ("null", {}),
        ("", {}),
        ("http://[", {}),
        (SITE, {"Sec-Fetch-Site": "same-site"}),
        (SITE, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
async def test_what_another_origin_asks_for_is_not_done(
    site: Site, origin: str, headers: dict[str, str]
) -> None:
    cookie = await site.sign_in("admin")
    page = await site.http.get(f"{SITE}/", headers={"Cookie": cookie})
    form = {"proof": read_proof(page.text), "secret": "stranger"}

    for path in ("/logout", "/login"):
        answer = await site.post(path, form, origin=origin, Cookie=cookie, **headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": cookie})).status_code == 200


async def test_a_form_proves_its_session(site: Site) -> None:
    mine, others = [await site.sign_in(user) for user in ("admin", "stranger")]
    page = await site.http.get(f"{SITE}/", headers={"Cookie": others})

    for form in ({}, {"proof": "x"}, {"proof": read_proof(page.text)}, {"proof": "y" * (1 << 17)}):
        assert (await site.post("/logout", form, Cookie=mine)).status_code == 403
    assert (await site.http.get(f"{SITE}/logout", headers={"Cookie": mine})).status_code == 404
    assert (await site.http.get(f"{SITE}/", headers={"Cookie": mine})).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost:8000", 200),  # forwarded by ssh
        ("[::1]:8081", 200),
        ("LOCALHOST", 200),
        ("pages.example", 200),  # configured
        ("elsewhere.example:8081", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("localhost@elsewhere.example", 421),
        ("[", 421),
    ],
)
async def test_only_known_names_are_answered(site: Site, host: str, status: int) -> None:
    """Whoever lets a name of theirs point here (rebinding) reads nothing."""
    answer = await site.get("/", Host=host)

    assert answer.status_code == status
    assert "<b>" not in answer.text


async def test_pages_are_held_by_their_headers(site: Site) -> None:
    await site.add_run("r1")
    for path in ("/", "/runs/r1", "/nothing", "/pipeline/"):
        headers = (await site.get(path)).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert " style=" not in (await site.get("/runs/r1")).text


@pytest.mark.parametrize(
    ("method", "site", "mode", "destination", "whose"),
    [
        ("GET", "none", "navigate", "document", "own"),
        ("GET", "cross-site", "navigate", "document", "own"),  # a link
        ("GET", "same-site", "navigate", "iframe", "foreign"),
        ("GET", "same-site", "no-cors", "script", "foreign"),
        ("GET", "cross-site", "cors", "empty", "foreign"),
        ("POST", "cross-site", "navigate", "document", "foreign"),
        ("POST", "none", "navigate", "document", "foreign"),
        ("GET", "same-origin", "navigate", "iframe", "own"),
        ("POST", "same-origin", "navigate", "document", "own"),
        ("GET", "", "", "", "own"),  # no browser of today
    ],
)
def test_whose_request_it_is(
    method: str, site: str, mode: str, destination: str, whose: str
) -> None:
    asked = Asked(method, "127.0.0.1:1", "http://127.0.0.1:1", site, mode, destination)

    assert is_own(asked) is (whose == "own")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/runs/r1?first=5#log", "/runs/r1?first=5#log"),
        ("//elsewhere.example/x", "/elsewhere.example/x"),
        ("/\\elsewhere.example/x", "/elsewhere.example/x"),
        ("\\\\elsewhere.example", "/elsewhere.example"),
        ("/\t/elsewhere.example", "/%09/elsewhere.example"),
        ("https://elsewhere.example", "/https://elsewhere.example"),
        ("javascript:alert(1)", "/javascript:alert(1)"),
        ("/x\r\nSet-Cookie: a=b", "/x%0D%0ASet-Cookie:%20a=b"),
        ("/runs?token=sesame&first=5&token=a", "/runs?first=5"),
        ("", "/"),
    ],
)
def test_signing_in_never_leads_to_another_site(text: str, path: str) -> None:
    assert own_path(text) == path
