import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, driven by Playwright."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install 'msmm[app-test]'"
    )
    if not CHROMIUM:
        pytest.skip("this machine has no Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
