"""A headless Chromium to open pages in."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

# Chromium scrolls smoothly, and forgets a key that is pressed while it still does.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-smooth-scrolling",
)


def missing() -> str:
    """Say what is missing to open a page in a browser, "" for nothing."""
    lacking = [name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if not path]
    return f"no {' and no '.join(lacking)} here: apt-get install chromium chromium-driver" if lacking else ""


def needs_a_browser():
    """Skip a test, and say why, where there is no browser to run it in."""
    return pytest.mark.skipif(bool(missing()), reason=missing())


class Browser:
    """A page in a window of a size, in which scripts may run or not; keeps what it logged and asked for."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1280, dark: bool = False, scripts: bool = True) -> None:
        tell = self.driver.execute_cdp_cmd
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        tell("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tell("Emulation.setEmulatedMedia", {"features": [scheme]})
        tell("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.messages()
        self.requests()
        self.driver.get(page.absolute().as_uri())
        if scripts:
            self.wait()

    def do(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self) -> None:
        """Wait until a key or a finger has had its effect, and pictures that are on their way are shown."""
        self.driver.set_script_timeout(60)
        self.driver.execute_async_script(
            "const isShown = (one) => !one.viewer || one.dataset.shown;"
            "const look = () => {"
            "  if ([...document.querySelectorAll('.viewer')].every(isShown)) arguments[0](); else setTimeout(look, 20);"
            "};"
            "setTimeout(look, 150)"
        )

    def wait_for(self, script: str) -> None:
        """Wait until what a script returns is true.

        Raises
        ------
        selenium.common.exceptions.TimeoutException
            It is not after a minute.
        """
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: self.do(f"return {script}"), script)

    def choose(self, name: str, value, run: str = "") -> None:
        """Choose a value in a control of the viewer, as a user would."""
        self.do(
            "const one = document.querySelector(`${arguments[2]} [name=${arguments[0]}]`); one.value = arguments[1];"
            "one.dispatchEvent(new Event(one.type === 'range' ? 'input' : 'change', {bubbles: true}));",
            name,
            value,
            run,
        )
        self.wait()

    def press(self, key: str) -> None:
        """Press a key while nothing has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()
        self.wait()

    def text(self, selector: str) -> str:
        return self.do("return document.querySelector(arguments[0]).innerText", selector)

    def pixels(self, pane: str, run: str = "") -> list[list[int]]:
        """The colours (red, green, blue) in the picture of one side of the viewer."""
        found = self.do(
            "const one = document.querySelector(`${arguments[1]} [data-pane=${arguments[0]}] canvas.image`);"
            "const copy = new OffscreenCanvas(one.width, one.height).getContext('2d', {willReadFrequently: true});"
            "copy.drawImage(one, 0, 0); return [...copy.getImageData(0, 0, one.width, one.height).data]",
            pane,
            run,
        )
        return [found[k : k + 3] for k in range(0, len(found), 4)]

    def messages(self) -> list[str]:
        """What the console has said since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked for since the last time, but for what is in the page itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def picture(self, height: int | None = None) -> bytes:
        """The page as a PNG, whole or down to a height in px."""
        tell = self.driver.execute_cdp_cmd
        size = tell("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        taken = tell("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(taken["data"])


@contextmanager
def browser() -> Iterator[Browser]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Chromium puts a socket below its temporary folder, whose path may have 107 characters: TMPDIR may be longer.
    with TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        service = webdriver.ChromeService(DRIVER, env={**os.environ, "TMPDIR": folder})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield Browser(driver)
        finally:
            driver.quit()
