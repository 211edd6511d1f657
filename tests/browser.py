"""A page in a headless Chromium, opened without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

LONG = 60_000  # ms; a page takes one or two seconds, unless the machine is busy


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("no Chromium on the path: `apt-get install chromium`, or run .ci/run, which does it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page, opened without a network.

    Attributes:
        asked: the addresses on other hosts that it asked for.
        errors: what went wrong in it.
        dialogs: what its scripts said in a dialog; those of the book say nothing.
    """

    def __init__(self, chromium, path: Path):
        self.asked, self.errors, self.dialogs = [], [], []
        self.page = chromium.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
        self.page.set_default_timeout(LONG)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("dialog", self._said)
        self.page.route("**/*", self._answer)
        self.page.goto(path.as_uri(), wait_until="domcontentloaded")
        self.page.wait_for_function("[...document.querySelectorAll('.avsink-chart')].every(c => c.dataset.state)")

    def _heard(self, message):
        """Vega says what fails while a chart is alive, and does not throw it."""
        if message.type == "error" and message.text.startswith("ERROR"):
            self.errors.append(message.text)

    def _said(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _answer(self, route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def turn_into_a_telephone(self):
        """A narrow window in the dark theme; every chart is drawn anew for it."""
        self.page.evaluate("document.querySelectorAll('.avsink-chart').forEach(c => delete c.dataset.state)")
        self.page.set_viewport_size({"width": 420, "height": 900})
        self.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        self.page.wait_for_function("[...document.querySelectorAll('.avsink-chart')].every(c => c.dataset.state)")

    def silent_clips(self) -> list[str]:
        """What keeps a clip of the page from being played."""
        return self.page.evaluate(
            """() => Promise.all([...document.querySelectorAll('video')].map(clip => new Promise(resolve => {
                const look = () => clip.error ? resolve(clip.error.message || 'error')
                    : clip.readyState > 1 ? resolve(clip.videoWidth ? '' : 'no picture') : setTimeout(look, 100);
                clip.load(); look();
            }))).then(found => found.filter(Boolean))"""
        )

    def charts(self) -> list[dict]:
        """State, description, size and number of marks of every chart that the page declares."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.avsink-chart')].map(chart => {
                const svg = chart.querySelector('svg.marks'), box = svg?.getBoundingClientRect();
                return {
                    state: chart.dataset.state,
                    description: chart.querySelector('[role=graphics-document]')?.getAttribute('aria-label'),
                    width: box?.width, height: box?.height, room: chart.clientWidth,
                    marks: svg?.querySelectorAll('.role-mark path, .role-mark line').length,
                };
            })"""
        )
