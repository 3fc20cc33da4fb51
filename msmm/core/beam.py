"""Apache Beam runners and options from the flags of a command."""

import contextlib
import io
from collections.abc import Sequence

from msmm.core.errors import UserError

# Beam's own DirectRunner first downloads another runner, Prism, and writes it below the home directory.
_LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def runner_and_options(runner: str, options: Sequence[str]) -> tuple:
    """Returns a Beam runner by name, and PipelineOptions from texts "name=value". Raises UserError.

    "DirectRunner" is Beam's local runner that needs no network.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners import create_runner
    except ImportError as error:
        raise UserError(
            f"packing with --runner={runner} needs Apache Beam ({error}): pip install 'msmm[beam]'"
        ) from None
    parsed = PipelineOptions([f"--{option}" for option in options])
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            parsed.get_all_options()
        return create_runner(_LOCAL if runner == "DirectRunner" else runner), parsed
    except SystemExit:  # argparse ends the process
        raise UserError(f"--beam_options: {message.getvalue().strip().rpartition('error: ')[2]}") from None
    except (ValueError, ImportError) as error:
        raise UserError(f"expected a Beam runner, got {runner}: {error}") from None
