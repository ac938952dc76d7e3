"""Who may import whom: the house's one-way streets, read from the source files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: modules of a layer may import their own layer and those before it
LAYERS = (
    ("snnexp.surrogates", "snnexp.kernels", "snnexp.data"),
    ("snnexp.neurons",),
    ("snnexp.readout", "snnexp.models"),
    ("snnexp.metrics", "snnexp.report"),
    ("snnexp.losses", "snnexp.depth_loss", "snnexp.config"),
    ("snnexp.training",),
    ("snnexp.assembly", "snnexp.outcome", "snnexp.run", "snnexp.process"),
    ("snnexp.sweep", "snnexp.corruptions", "snnexp.loaded"),
    ("snnexp.cli", "snnexp.__main__", "snnexp.evaluate", "snnexp.predict"),
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def layer_of(name):
    for i, prefixes in enumerate(LAYERS):
        if any(name == p or name.startswith(f"{p}.") for p in prefixes):
            return i
    return None


MODULES = sorted((ROOT / "snnexp").rglob("*.py"))


def test_every_module_has_a_layer():
    without = [name_of(p) for p in MODULES if layer_of(name_of(p)) is None]
    assert without == ["snnexp"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    own = layer_of(name_of(path))
    if own is None:
        return
    upward = {i for i in imports(path) if (layer_of(i) or 0) > own}
    assert not upward, f"{name_of(path)} imports {sorted(upward)}, which stand above it"


def test_nobody_imports_tasks_or_scripts():
    for path in MODULES:
        found = [i for i in imports(path) if i.split(".")[0] in ("tasks", "scripts")]
        assert not found, f"{name_of(path)} imports {found}; Hydra's _target_ is the only door"


def test_data_knows_no_model_and_report_no_training():
    for path in MODULES:
        name = name_of(path)
        banned = {"snnexp.data": "snnexp.models", "snnexp.report": "snnexp.training"}
        for package, other in banned.items():
            if name.startswith(package):
                assert not [i for i in imports(path) if i.startswith(other)], name


def test_tasks_import_only_data_and_metrics():
    allowed = ("snnexp.data", "snnexp.metrics", "snnexp.report.units", "tasks")
    for path in sorted((ROOT / "tasks").rglob("*.py")):
        ours = [i for i in imports(path) if i.split(".")[0] in ("snnexp", "scripts")]
        bad = [i for i in ours if i != "snnexp" and not i.startswith(allowed)]
        assert not bad, f"{name_of(path)} imports {bad}"
