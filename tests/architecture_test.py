"""Checks the rules of the layout (WORKSPACE.md, "Rules")."""

import ast
import re

import pytest

from tests.conftest import ROOT

# From the lowest layer up: a module imports from its own folder and from lower layers.
LAYERS = (
    ("msmm", "msmm.core"),
    ("msmm.configs", "msmm.data", "msmm.scenes", "msmm.scoring"),
    ("msmm.models", "msmm.quantities"),
    ("msmm.baselines",),
    ("msmm.inference",),
    ("msmm.photos", "msmm.training"),
    ("tfrecords_tools.raw", "tfrecords_tools.library"),
    ("tfrecords_tools.packing",),
    ("tfrecords_tools.datasets",),
    ("msmm.run_flags", "msmm.api"),
    ("experiments.reporting",),
    ("experiments.sections", "experiments.benchmarks", "experiments.starter"),
    ("experiments.library",),
)
COMMANDS = {
    "msmm": ("train", "evaluate", "describe", "annotate", "annotate_beam", "export", "app", "doctor"),
    "experiments": (
        *(f"reproduce_table{number}" for number in range(1, 7)),
        "reproduce_all",
        "figure5",
        "figure6",
        "timing",
        "decoding_speed",
        "ablation",
        "joint",
        "modern_table",
        "quantity",
        "results_pages",
        "review_curve",
        "image_sizes",
        "sweep",
        "package_trunk",
        "starter_model",
        "starter_words",
        "library_rehearsal",
        "benchmark_packing",
        "benchmark_annotate",
        "benchmark_inference",
        "benchmark_training",
        "benchmark_input",
        "benchmark_scaling",
        "benchmark_gpu",
        "draw_nus_wide",
        "rehearsal",
    ),
    "tfrecords_tools": ("pack", "inspect"),
}
# The packages that each package may import. Of msmm, only commands may open data sets of tfrecords_tools.
PACKAGES = {
    "msmm": {"msmm"},
    "tfrecords_tools": {"msmm", "tfrecords_tools"},
    "experiments": {"msmm", "tfrecords_tools", "experiments"},
}
# These folders run on any Keras backend.
PURE = ("msmm/models", "msmm/baselines", "msmm/scoring", "msmm/quantities")

LONGEST_FILE, LONGEST_FUNCTION = 310, 65  # lines

FILES = [p for package in COMMANDS for p in sorted((ROOT / package).rglob("*.py"))]
SOURCE = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
IS_COMMAND = {f"{package}.{name}" for package, names in COMMANDS.items() for name in names}
MAY_READ_FLAGS = IS_COMMAND | {"msmm.run_flags", "msmm.core.command_line"}
IMPORTS: dict = {}


def imports(path):
    """Returns the modules of this project that a file imports, at its top or within a function."""
    if path not in IMPORTS:
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= {m if m in SOURCE else node.module for m in modules}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        IMPORTS[path] = {m for m in imported if m in SOURCE}
    return IMPORTS[path]


def layer(module):
    """Returns the layer of a module, by its longest prefix in LAYERS; commands are the highest layer."""
    if module in IS_COMMAND or module == "msmm.__main__" or module in ("experiments", "tfrecords_tools"):
        return len(LAYERS)
    fits = [
        (len(name), i)
        for i, names in enumerate(LAYERS)
        for name in names
        if module == name or (name != "msmm" and module.startswith(f"{name}."))
    ]
    assert fits, f"{module} is in no layer of LAYERS"
    return max(fits)[1]


def folder(module):
    return module if (SOURCE[module].name == "__init__.py") else module.rpartition(".")[0]


@pytest.mark.parametrize("module", sorted(SOURCE))
def test_a_module_imports_only_from_its_folder_and_lower_layers(module):
    for imported in imports(SOURCE[module]):
        assert imported not in IS_COMMAND, f"{module} imports the command {imported}"
        within = layer(imported) == layer(module) and folder(imported).startswith(
            ".".join(folder(module).split(".")[:2])
        )
        assert layer(imported) < layer(module) or within, f"{module} imports {imported} from a higher layer"


@pytest.mark.parametrize("module", sorted(SOURCE))
def test_packages_import_strictly_downwards(module):
    package = module.partition(".")[0]
    opens_data_sets = package == "msmm" and module in MAY_READ_FLAGS - {"msmm.core.command_line"}
    allowed = PACKAGES[package] | ({"tfrecords_tools"} if opens_data_sets else set())
    assert {m.partition(".")[0] for m in imports(SOURCE[module])} <= allowed


def test_imports_have_no_cycle():
    graph = {module: imports(path) for module, path in SOURCE.items()}

    def reach(start, seen):
        for following in graph[start] - seen:
            seen.add(following)
            reach(following, seen)
        return seen

    assert [m for m in graph if m in reach(m, set())] == []


# oneDNN's own limit of a processor's instructions is a variable of the environment.
@pytest.mark.parametrize("module", sorted(set(SOURCE) - MAY_READ_FLAGS - {"msmm.core.processor"}))
def test_flags_and_the_environment_are_read_in_commands_only(module):
    text = SOURCE[module].read_text()
    assert not re.search(r"absl|sys\.argv|os\.environ|getenv", text)


def test_tensorflow_datasets_is_imported_in_one_place():
    imported = [m for m, path in SOURCE.items() if re.search(r"import tensorflow_datasets", path.read_text())]
    assert imported == ["msmm.data.tfds"]  # whose docstring says why


def test_run_flags_are_imported_only_by_commands():
    users = {m for m, path in SOURCE.items() if "msmm.run_flags" in imports(path)}
    assert users <= IS_COMMAND


@pytest.mark.parametrize("path", [p for p in FILES if str(p.relative_to(ROOT)).startswith(PURE)])
def test_models_losses_and_metrics_run_on_any_keras_backend(path):
    assert not re.search(r"^\s*(import|from) (tensorflow|tf)\b", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short_and_public_names_have_docstrings(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if f.end_lineno - f.lineno + 1 > LONGEST_FUNCTION] == []
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = [node for node in public if node.name != "main" and not node.name.startswith("_")]
    # The class of a baseline is described by its module.
    described = [node for node in public if ast.get_docstring(node)]
    assert described == public or path.parent.name == "baselines", path


def test_every_command_is_listed():
    commands = {m for m, p in SOURCE.items() if "command_line.run(main" in p.read_text()}
    assert commands == IS_COMMAND
