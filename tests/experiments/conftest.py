import pytest


@pytest.fixture(scope="session")
def measured(trained_run):
    """Returns the measured study of one finished run."""
    from experiments.sections.study import train_and_measure

    return train_and_measure([trained_run])
