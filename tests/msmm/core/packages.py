"""Optional packages of image formats: absent in a test, or needed by it."""

import importlib.util
import sys

import pytest

from msmm.core import photo_files


@pytest.fixture
def without_packages(monkeypatch):
    """Makes the optional packages as good as not installed: importing them fails."""
    for module, *_ in photo_files.OPTIONAL_FORMATS.values():
        monkeypatch.setitem(sys.modules, module, None)


def needs(form: str):
    """Returns a mark that skips a test where the package of a format is not installed."""
    module, package, _ = photo_files.OPTIONAL_FORMATS[form]
    absent = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(absent, reason=f"{package} is missing: pip install 'msmm[photos]'")
