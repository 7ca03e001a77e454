"""The pages in a real browser: headless Chromium, where there is one (Debian: chromium-driver)."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import harness

CLIENT = Path(__file__).parent / "clients" / "shown_run.py"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SECONDS = 20.0
PHONE, DESK = 375, 1280  # pixels

pytestmark = [
    harness.needs_sdks,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs a browser: apt-get install chromium chromium-driver",
    ),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser"),
]


@dataclass
class Tab:
    """A browser with one tab, and the Bessemer whose pages it shows."""

    driver: webdriver.Chrome
    bessemer: harness.Running
    run_id: str
    tasks: dict[str, str]

    def open(self, path: str) -> None:
        self.driver.get(self.bessemer.pipelines + path)

    @property
    def address(self) -> str:
        return str(self.driver.current_url).removeprefix(self.bessemer.pipelines)

    def until(self, address: str) -> None:
        wait = WebDriverWait(self.driver, SECONDS, poll_frequency=0.05)
        wait.until(lambda _: self.address == address, f"never at {address}")

    def text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def sign_in(self) -> None:
        if not self.is_signed_in():
            self.driver.find_element(By.NAME, "secret").send_keys(self.bessemer.token)
            self.driver.find_element(By.CSS_SELECTOR, "#login button").click()
            WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(
                lambda driver: driver.find_elements(By.NAME, "proof")
            )

    def is_signed_in(self) -> bool:
        self.open("/")
        return not self.driver.find_elements(By.ID, "login")

    def widen(self, width: int) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture(scope="module")
def tab(bessemer: harness.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    made = bessemer.tell(CLIENT)
    options = webdriver.ChromeOptions()
    assert CHROMIUM is not None
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--hide-scrollbars", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.set_page_load_timeout(SECONDS)
        yield Tab(driver, bessemer, made["run_id"], made["tasks"])
    finally:
        driver.quit()


def test_the_link_of_up_signs_in_and_leaves_nothing_in_the_address(tab: Tab) -> None:
    link = tab.bessemer.wait_for_line("sign in, once", 5).split()[-1]

    tab.driver.get(f"{link}&next=%2Fruns%2F{tab.run_id}%3Ffirst%3D0")
    tab.until(f"/runs/{tab.run_id}?first=0")

    assert "A run with a long name" in tab.text()
    assert tab.run("return document.cookie") == ""
    tab.driver.back()
    assert "code=" not in tab.driver.current_url
    assert tab.bessemer.token not in tab.driver.page_source


def test_a_link_of_kfp_survives_signing_in_and_changes_of_the_hash(tab: Tab) -> None:
    tab.open("/login")
    tab.driver.delete_all_cookies()  # of this site
    tab.open(f"/#/runs/details/{tab.run_id}")
    assert "Token or code" in tab.text()

    tab.driver.find_element(By.NAME, "secret").send_keys(tab.bessemer.token)
    tab.driver.find_element(By.CSS_SELECTOR, "#login button").click()
    tab.until(f"/runs/{tab.run_id}")

    tab.open("/")
    tab.run(f"location.hash = '#/runs/details/{tab.run_id}'")
    tab.until(f"/runs/{tab.run_id}")


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A pod's page: another port of the same host, so the browser sends it our cookie."""

    page = ""

    def do_GET(self) -> None:
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """No output."""


@contextmanager
def elsewhere(page: str) -> Iterator[int]:
    """The port on which that page is served."""
    handler = type("Handler", (Elsewhere,), {"page": page})
    server = http.server.ThreadingHTTPServer((harness.HOST, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the same site, and another
@pytest.mark.parametrize(("path", "field"), [("/logout", "proof"), ("/login", "secret")])
def test_a_form_of_another_page_changes_nothing(
    tab: Tab, host: str, path: str, field: str
) -> None:
    tab.sign_in()
    proof = tab.run("return document.querySelector('[name=proof]').value")
    value = proof if field == "proof" else tab.bessemer.token
    page = (
        f'<form method=post action="{tab.bessemer.pipelines}{path}">'
        f'<input name={field} value="{value}"></form><script>document.forms[0].submit()</script>'
    )

    with elsewhere(page) as port:
        tab.driver.get(f"http://{host}:{port}/")
        tab.until(path)

    assert "403: Refused" in tab.text()
    assert tab.is_signed_in()


def test_another_page_reads_and_frames_nothing(tab: Tab) -> None:
    tab.sign_in()
    page = f"""<iframe id=f src="{tab.bessemer.pipelines}/"></iframe><script>
    window.read = fetch("{tab.bessemer.pipelines}/", {{credentials: "include"}})
      .then(answer => answer.text()).catch(error => error.name);
    window.blind = fetch("{tab.bessemer.pipelines}/",
      {{credentials: "include", mode: "no-cors"}}).catch(error => error.name);
    </script>"""

    with elsewhere(page) as port:
        tab.driver.get(f"http://127.0.0.1:{port}/")
        wait = "const done = arguments[0]; Promise.all([read, blind]).then(done)"
        assert tab.driver.execute_async_script(wait) == ["TypeError", "TypeError"]
        tab.driver.switch_to.frame("f")
        assert "A run with a long name" not in tab.driver.page_source
        tab.driver.switch_to.default_content()


def test_reports_run_in_an_origin_of_their_own(tab: Tab) -> None:
    tab.sign_in()
    tab.open(f"/runs/{tab.run_id}")
    frames = {
        frame.get_attribute("title"): frame
        for frame in tab.driver.find_elements(By.TAG_NAME, "iframe")
    }

    for name, element, said in (("report", "t", "SecurityError kept"), ("notes", "", "")):
        tab.run("arguments[0].scrollIntoView()", frames[name])
        tab.driver.switch_to.frame(frames[name])
        wait = WebDriverWait(tab.driver, SECONDS, poll_frequency=0.05)
        wait.until(lambda driver: driver.find_elements(By.TAG_NAME, "h1"))
        if said:
            assert tab.driver.find_element(By.ID, element).text == said
        else:
            assert "<script>" in tab.text()  # as text
        tab.driver.switch_to.default_content()
    assert tab.address == f"/runs/{tab.run_id}"
    # Alone it is no more.
    tab.run("arguments[0].closest('.card').querySelector('a').click()", frames["report"])
    wait.until(lambda driver: "/artifacts/" in driver.current_url)
    assert tab.driver.find_element(By.ID, "t").text.startswith("SecurityError")
    assert tab.is_signed_in()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_page_is_wider_than_the_screen(tab: Tab, width: int) -> None:
    tab.sign_in()
    tab.widen(width)
    run = f"/runs/{tab.run_id}"
    for path in ("/", run, f"{run}/tasks/{tab.tasks['fail']}/log", "/login", "/nothing"):
        tab.open(path)
        assert tab.run("return document.documentElement.scrollWidth") == width, path
        hidden = tab.run(
            "return [...document.querySelectorAll('.scroll')]"
            ".filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
        )
        assert hidden == [], path
    told = [entry["message"] for entry in tab.driver.get_log("browser")]
    assert not [text for text in told if "Content Security Policy" in text and run in text]


def test_a_log_is_in_time_order_and_of_each_attempt(tab: Tab) -> None:
    tab.sign_in()
    tab.open(f"/runs/{tab.run_id}")
    assert tab.text().count("ValueError: no rows") == 1
    tab.open(f"/runs/{tab.run_id}/tasks/{tab.tasks['fail']}/log")
    last = tab.text()
    tab.driver.find_element(By.LINK_TEXT, "attempt 1").click()
    first = tab.text()

    for text in (last, first):
        assert text.count("Traceback") == 1
        assert text.index("printed before") < text.index("Traceback")
    style = tab.run("return getComputedStyle(document.querySelector('pre')).fontFamily")
    assert "monospace" in style


def test_signing_out_ends_the_session(tab: Tab) -> None:
    tab.sign_in()
    (cookie,) = tab.driver.get_cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"

    tab.driver.find_element(By.CSS_SELECTOR, "header button").click()
    tab.until("/login")

    assert tab.driver.get_cookies() == []
    tab.driver.add_cookie(cookie)
    assert not tab.is_signed_in()
