"""A real Chromium, and a site with an intake on loopback."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from two_origins import Site

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserType, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the path of a Chromium. In CI a missing browser must not look like success."""
    named = [os.environ.get("POSTHORN_CHROMIUM", ""), *_PROGRAMS]
    for program in named:
        if program and (path := shutil.which(program)):
            return path
    return give_up("there is no Chromium: run scripts/install_chromium.sh, or name one with POSTHORN_CHROMIUM")


def give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium_type(chromium_path: str) -> "AsyncIterator[BrowserType]":
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415 - its absence is said by name
    except ImportError:
        give_up("the package playwright, which drives Chromium, is not installed")
    async with async_playwright() as playwright:
        yield playwright.chromium


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium(chromium_type: "BrowserType", chromium_path: str) -> "AsyncIterator[Browser]":
    browser = await chromium_type.launch(executable_path=chromium_path)
    yield browser
    await browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: "Browser", site: Site) -> "AsyncIterator[Page]":
    """Open a tab of a fresh visitor. A request to anyone but the two origins is an error."""
    context = await chromium.new_context(locale="ru-RU", timezone_id="Asia/Vladivostok")
    strangers: list[str] = []
    own = (site.url, site.intake_url)
    context.on("request", lambda request: None if request.url.startswith(own) else strangers.append(request.url))
    yield await context.new_page()
    await context.close()
    assert strangers == []
