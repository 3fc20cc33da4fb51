import pytest


@pytest.fixture(scope="session")
def measured(trained_run):
    """The study of one finished run."""
    from experiments.sections import study

    return study.finish([trained_run])
