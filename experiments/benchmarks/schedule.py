"""Computes the time of the whole schedule on NUS-WIDE from measured speeds."""

from msmm.configs.base import Config

# NUS-WIDE: training and test images (IV-A1), of which 5,000 are held out.
TRAIN, TEST, HELD_OUT = 94_570, 55_335, 5_000


def images_to_process(config: Config) -> dict[str, int]:
    """Returns the number of images that each job processes on NUS-WIDE, if no stage stops early.

    "features" counts forward passes through MS-CNN. Held-out images pass after each epoch of the stages on
    images, and the batches of decision 8 after each epoch of stage visual. At the end, every image of both
    splits passes once.
    """
    training = TRAIN - HELD_OUT
    epochs = {"finetune": config.finetune.epochs, "visual": config.visual.epochs}
    statistics = min(config.bn_batches * config.batch_size, training) * config.visual.epochs
    return {
        **{stage: epochs[stage] * training for stage in epochs},
        "features": sum(epochs.values()) * HELD_OUT + statistics + TRAIN + TEST,
        "textual": config.textual.epochs * training,
        "classifier": config.classifier.epochs * training,
        "quantity": config.quantity.epochs * training,
        "quantity_visual": config.quantity.epochs * training,
    }


def describe_schedule(speed: dict[str, float], backend: str) -> str:
    """Returns the time of the whole schedule in words, computed from images/s by job."""
    images = images_to_process(Config())
    missing = [job for job in images if job not in speed]
    if missing:
        return f"the whole schedule on {backend}: not computed without {', '.join(missing)}"
    minutes = {job: count / speed[job] / 60 for job, count in images.items()}
    shares = ", ".join(f"{job} {value:,.1f}" for job, value in minutes.items())
    return (
        f"computed, not measured: the whole schedule on NUS-WIDE with {backend}, fed without a pause: "
        f"{sum(minutes.values()):,.1f} minutes ({shares})"
    )
