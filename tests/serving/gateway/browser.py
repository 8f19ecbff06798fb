"""Debian's chromium, driven by Playwright; tests are skipped where there is none."""

import shutil

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium():
    """Path of the browser, or skip with the reason."""
    pytest.importorskip("playwright.sync_api", reason="no Playwright: install vlsearch[dev]")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no browser: apt-get install chromium")
    return path
