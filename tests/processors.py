"""Runs the numeric tests as on other processors, runtimes and environments.

    python -m tests.processors                          every setting
    python -m tests.processors AVX2 one_core            some settings
    python -m tests.processors AVX2+one_core            both at once
    python -m tests.processors --turn=COMMIT            one setting, chosen by the hash of a commit: for CI
    python -m tests.processors AVX2 -- tests/msmm -x    with other arguments of pytest

A setting whose instructions this processor lacks is reported as left out.
"""

import argparse
import dataclasses
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
# Folders whose tests compare numbers that a network, a metric or a rule computes.
FOLDERS = tuple(f"tests/msmm/{name}" for name in
                ("baselines", "inference", "models", "quantities", "scoring", "training"))  # fmt: skip
NUMERIC = ("-m", "numeric and not slow")
# Files for --turn: their numbers come from the most runtimes, and they take a few minutes.
IN_TURN = (
    "tests/msmm/inference/exporting",
    "tests/msmm/inference/agreement_test.py",
    "tests/msmm/baselines/recurrent_test.py",
    "tests/msmm/models/losses_test.py",
    "tests/msmm/scoring",
    "tests/msmm/training/precision_test.py",
)

# Environment variables that commands started by tests must receive too.
OF_PROCESSORS = (
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "OPENBLAS_CORETYPE",
    *("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("LC_ALL", "TZ"),
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A way to run tests.

    Attributes:
        env: environment variables.
        flags: instruction sets that the setting needs, as /proc/cpuinfo lists them.
        cores: number of cores that the process may use, None for all.
        arguments: additional arguments of pytest.
    """

    env: dict[str, str] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()
    cores: int | None = None
    arguments: tuple[str, ...] = ()


def make_settings(seed: int) -> dict[str, Setting]:
    """Returns the settings by name; `seed` determines the random order of tests."""

    def threads(number):
        return {f"{name}_NUM_{kind}THREADS": str(number)
                for name, kind in (("TF", "INTRAOP_"), ("OMP", ""), ("OPENBLAS", ""))}  # fmt: skip

    avx512 = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
    return {
        "as_it_is": Setting(),
        "SSE41": Setting({"ONEDNN_MAX_CPU_ISA": "SSE41"}, ("sse4_1",)),
        "AVX2": Setting({"ONEDNN_MAX_CPU_ISA": "AVX2"}, ("avx2",)),
        "AVX512_CORE": Setting({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, avx512),
        "without_oneDNN": Setting({"TF_ENABLE_ONEDNN_OPTS": "0"}),
        "OpenBLAS_Haswell": Setting({"OPENBLAS_CORETYPE": "Haswell"}, ("avx2", "fma")),
        "1_thread": Setting(threads(1)),
        "4_threads": Setting(threads(4)),
        "one_core": Setting(cores=1),
        "locale_and_time_zone": Setting({"LC_ALL": _other_locale(), "TZ": "Asia/Kathmandu"}),
        "random_order": Setting(arguments=("--random-order", f"--random-order-seed={seed}")),
    }


def combine(settings: list[Setting]) -> Setting:
    """Returns all of the settings at once; where two name the same variable or cores, the last one counts."""
    return Setting(
        env={key: value for setting in settings for key, value in setting.env.items()},
        flags=tuple(flag for setting in settings for flag in setting.flags),
        cores=next((s.cores for s in reversed(settings) if s.cores), None),
        arguments=tuple(argument for setting in settings for argument in setting.arguments),
    )


def _other_locale() -> str:
    """Returns Turkish, where i and I are different letters, else another installed locale, else POSIX."""
    listed = []
    if shutil.which("locale"):
        listed = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    others = [name for name in listed if not re.match(r"C|POSIX|en_", name)]
    return next((name for name in others if name.startswith("tr_TR")), [*others, "POSIX"][0])


def missing_flags(setting: Setting) -> list[str]:
    """Returns the instruction sets that a setting needs and the processor lacks."""
    info = pathlib.Path("/proc/cpuinfo")
    listed = set(info.read_text().split()) if info.is_file() else set()
    return [flag for flag in setting.flags if flag not in listed]


def run_setting(name: str, setting: Setting, arguments: list[str]) -> tuple[int, str]:
    """Runs pytest under a setting; returns its exit status and its summary line."""
    changes = [f"{key}={value}" for key, value in setting.env.items()] + list(setting.arguments)
    changes += [f"{setting.cores} core"] if setting.cores else []
    print(f"\n== {name}: {' '.join(changes) or 'nothing changed'}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--durations=0", "--durations-min=60", "-rs"]
    command += ["-o", "faulthandler_timeout=300"]  # a test that hangs shows where
    allowed = sorted(os.sched_getaffinity(0)) if setting.cores else []
    process = subprocess.Popen(
        [*command, *arguments, *setting.arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **setting.env},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=(lambda: os.sched_setaffinity(0, allowed[: setting.cores])) if setting.cores else None,
    )
    summary = "no summary"
    for line in process.stdout:
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|error|skipped|deselected).* in ", line):
            summary = line.strip(" =\n")
    return process.wait(), summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="settings; all if none is named")
    parser.add_argument("--turn", help="hash of a commit, which chooses one setting that is possible here")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="seed of the random order of tests"
    )
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, arguments = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    settings = make_settings(options.seed)
    if unknown := {part for name in options.names for part in name.split("+")} - set(settings):
        parser.error(f"expected settings of {', '.join(settings)}. Received: {', '.join(unknown)}")
    names = options.names or list(settings)
    if options.turn:
        possible = [n for n, s in settings.items() if n != "as_it_is" and not missing_flags(s)]
        names = [possible[int(options.turn, 16) % len(possible)]]
        arguments = arguments or [*NUMERIC, *IN_TURN]
    rows, failed = [], False
    for name in names:
        setting = combine([settings[part] for part in name.split("+")])
        if missing := missing_flags(setting):
            rows.append((name, f"left out: this processor has no {', '.join(missing)}"))
            continue
        started = time.monotonic()
        status, summary = run_setting(name, setting, arguments or [*NUMERIC, *FOLDERS])
        failed |= status != 0
        rows.append((name, f"{'FAILED' if status else 'passed'}: {summary}"))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\nseed of the random order: {options.seed}")
    for name, result in rows:
        print(f"{name:<22} {result}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
