"""The house rules that a machine can check."""

import ast
import re

import pytest

from tests.conftest import ROOT

# From the ground up: a module imports only from floors below its own.
FLOORS = (
    ("msmm.errors", "msmm.files", "msmm.checksums", "msmm"),
    (
        "msmm.annotations",
        "msmm.losses",
        "msmm.optimizers",
        "msmm.preprocessing",
        "msmm.contact_sheet",
    ),
    ("msmm.metrics", "msmm.records", "msmm.configs", "msmm.models"),
    ("msmm.baselines", "msmm.methods", "msmm.quantities", "msmm.model_card"),
    ("tfrecords_tools", "msmm.input_pipeline", "msmm.training_log", "msmm.model_dir"),
    ("msmm.run", "msmm.training", "msmm.annotating", "msmm.exporting", "msmm.page"),
    ("msmm.parts", "msmm.engines", "msmm.distribution"),
    ("msmm.annotating.beam",),
    ("msmm.features",),
    ("msmm.tasks",),
    ("msmm.compared", "msmm.joint"),
    ("msmm.stages",),
    ("msmm.variants",),
    ("msmm.command_line",),
    ("experiments",),
)
DOORS = {
    "msmm": ("train", "evaluate", "describe", "annotate", "annotate_beam", "export", "app"),
    "experiments": (
        *(f"reproduce_table{number}" for number in range(1, 7)),
        "reproduce_all",
        "figure5",
        "figure6",
        "timing",
        "decoding_speed",
        "ablation",
        "joint",
        "nearest_tags",
        "quantity",
        "benchmark_packing",
        "benchmark_inference",
        "benchmark_training",
        "benchmark_input",
        "benchmark_scaling",
        "benchmark_gpu",
    ),
    "tfrecords_tools": ("pack", "inspect"),
}
PURE = (
    "msmm/models",
    "msmm/baselines",
    "msmm/losses.py",
    "msmm/metrics.py",
    "msmm/annotations.py",
    "msmm/quantities",
    "msmm/optimizers.py",
)

FILES = [
    p for room in ("msmm", "experiments", "tfrecords_tools") for p in sorted((ROOT / room).rglob("*.py"))
]
SOURCE = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
IS_DOOR = {f"{room}.{name}" for room, names in DOORS.items() for name in names}


def imports(path):
    """Modules of this project that a file imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {m if m in SOURCE else node.module for m in modules}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {m for m in found if m in SOURCE}


def floor(module):
    fits = [
        (len(name), i)
        for i, names in enumerate(FLOORS)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    ]
    return max(fits)[1]


@pytest.mark.parametrize("module", sorted(SOURCE))
def test_a_module_imports_only_from_floors_below(module):
    if module in IS_DOOR:
        return
    room = {m for m in SOURCE if floor(m) == floor(module)}
    for imported in imports(SOURCE[module]):
        assert imported not in IS_DOOR, f"{module} imports the door {imported}"
        assert floor(imported) < floor(module) or imported in room, f"{module} imports {imported} from above"


def test_there_is_no_circle():
    graph = {module: imports(path) for module, path in SOURCE.items()}

    def reach(start, seen):
        for after in graph[start] - seen:
            seen.add(after)
            reach(after, seen)
        return seen

    assert [m for m in graph if m in reach(m, set())] == []


@pytest.mark.parametrize("module", sorted(set(SOURCE) - IS_DOOR - {"msmm.command_line"}))
def test_flags_live_only_in_doors(module):
    text = SOURCE[module].read_text()
    assert not re.search(r"absl|sys\.argv|os\.environ|getenv", text)


@pytest.mark.parametrize("path", [p for p in FILES if str(p.relative_to(ROOT)).startswith(PURE)])
def test_models_losses_and_metrics_run_on_any_keras_backend(path):
    assert not re.search(r"^\s*(import|from) (tensorflow|tf)\b", path.read_text(), re.MULTILINE)


def test_every_door_is_known():
    found = {m for m, p in SOURCE.items() if "command_line.run(main" in p.read_text()}
    assert found == IS_DOOR
