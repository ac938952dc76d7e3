"""Check a composed configuration before anything is built, and report all problems together.

Three passes: the root against `schema.Root`; every node with a `_target_` against the signature of
what it names (importable, each key a parameter, each required parameter given, each value of the
annotated type); the rules that span several nodes.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from snnexp.config.schema import Root
from snnexp.report.record import Paper

#: keys of a node that Hydra reads itself
_HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
_OWN = ("snnexp.", "tasks.")

#: yields the problems of a rule that spans several nodes
CrossRule = Callable[[dict[str, Any]], Iterator[str]]


class ConfigError(ValueError):
    """One or more problems of a configuration, each with the key to change."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {p}" for p in problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        super().__init__(f"{count} in the configuration:\n{lines}")


def validate(
    cfg: DictConfig, root: type[BaseModel] = Root, rules: Sequence[CrossRule] | None = None
) -> DictConfig:
    """Return a resolved, read-only copy of `cfg`, or raise ConfigError with every problem found.

    `root` is the schema of its root keys; `rules` span several nodes (null: those of a run).
    """
    try:
        plain = typing.cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key or 'root'}: {error.msg or error}"]) from error
    problems = [*_check_root(plain, root), *check_nodes(plain)]
    if not problems:
        problems += [p for rule in (_RULES if rules is None else rules) for p in rule(plain)]
    if problems:
        raise ConfigError(problems)
    frozen = OmegaConf.create(plain)
    OmegaConf.set_readonly(frozen, True)
    return frozen


def check_nodes(nodes: Mapping[str, Any]) -> list[str]:
    """Return the problems of some nodes of a resolved configuration, each with its key."""
    problems = list(_check_missing(dict(nodes), ""))
    for key, value in nodes.items():
        problems += _check_node(value, key)
    return problems


def near(word: str, known: typing.Iterable[str]) -> str:
    """Say which of the known words is meant, or list them."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    return f"Known here: {', '.join(names)}." if names else ""


def _check_missing(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _check_missing(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _check_missing(value, f"{path}[{i}]")
    elif node == "???":
        yield f"{path}: a value is required; give it as {path}=<value>"


def _check_root(plain: dict[str, Any], root: type[BaseModel]) -> list[str]:
    try:
        root.model_validate(plain)
    except ValidationError as error:
        # a value that is required says so itself
        return [_root_problem(e, root) for e in error.errors() if e["input"] != "???"]
    return []


def _root_problem(e: Any, root: type[BaseModel]) -> str:
    path = ".".join(str(p) for p in e["loc"])
    if e["type"] == "extra_forbidden":
        known = root.model_fields
        if len(e["loc"]) > 1:
            known = Paper.model_fields
        return f"{path}: no such key. {near(str(e['loc'][-1]), known)}"
    if e["type"] == "missing" and len(e["loc"]) > 1:
        return f"{path}: missing"
    if e["type"] == "missing":
        group = e["loc"][0]
        return f"{path}: missing. Choose one of configs/{group}, e.g. {group}=<name>"
    return f"{path}: {e['msg']} (given: {e['input']!r})"


def _check_node(node: Any, path: str) -> list[str]:
    """Check a node and everything below it."""
    problems: list[str] = []
    if isinstance(node, dict):
        if "_target_" in node:
            problems += _check_target(node, path)
        for key, value in node.items():
            problems += _check_node(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            problems += _check_node(value, f"{path}[{i}]")
    return problems


def _check_target(node: dict[str, Any], path: str) -> list[str]:
    name = node["_target_"]
    try:
        target = locate(name)
    except (ImportError, AttributeError) as error:
        return [f"{path}._target_: cannot import {name!r}: {error}"]
    own = name.startswith(_OWN)
    parameters = _config_parameters(target, own)
    keys = {k: v for k, v in node.items() if k not in _HYDRA_KEYS}
    problems = [
        f"{path}.{key}: no such key. {near(key, parameters)}"
        for key in keys
        if key not in parameters and not _takes_any(target, own)
    ]
    if not node.get("_partial_") or own:
        problems += [
            f"{path}.{key}: missing; {name} requires it"
            for key, p in parameters.items()
            if p.default is p.empty and key not in keys and p.kind is p.KEYWORD_ONLY
        ]
    hints = _type_hints(target)
    for key, value in keys.items():
        if key in parameters and key in hints and not _holds_target(value):
            problems += _check_type(value, hints[key], f"{path}.{key}", strict=own)
    return problems


def locate(name: str) -> Callable[..., Any]:
    """Import what a `_target_` names."""
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise ImportError("a dotted path is expected, such as snnexp.models.conv_snn.ConvSNN")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        outer, _, cls = module_name.rpartition(".")
        if error.name != module_name or not outer:
            raise
        return typing.cast(Callable[..., Any], getattr(locate(f"{outer}.{cls}"), attribute))
    if not hasattr(module, attribute):
        raise AttributeError(
            f"module {module_name} has no {attribute!r}. {near(attribute, dir(module))}"
        )
    return typing.cast(Callable[..., Any], getattr(module, attribute))


def _config_parameters(target: Callable[..., Any], own: bool) -> dict[str, inspect.Parameter]:
    """Return the parameters a yaml may set: of our own constructors only the keyword-only ones."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    kinds = (inspect.Parameter.KEYWORD_ONLY,) if own else named
    return {k: p for k, p in inspect.signature(target).parameters.items() if p.kind in kinds}


def _takes_any(target: Callable[..., Any], own: bool) -> bool:
    parameters = inspect.signature(target).parameters.values()
    return not own and any(p.kind is p.VAR_KEYWORD for p in parameters)


def _type_hints(target: Callable[..., Any]) -> Mapping[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}  # a third party's annotation that only its type checker can resolve


def _holds_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(_holds_target(v) for v in value.values())
    return isinstance(value, list) and any(_holds_target(v) for v in value)


def _check_type(value: Any, hint: Any, path: str, strict: bool) -> list[str]:
    """Check one value as JSON: lists serve as tuples and ints as floats, but '3' is no number."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            hint, config=ConfigDict(arbitrary_types_allowed=True)
        )
    except (PydanticUserError, PydanticSchemaGenerationError):
        adapter = TypeAdapter(hint)
    try:
        adapter.validate_json(json.dumps(value), strict=strict)
    except ValidationError as error:
        return [_type_problem(error, value, hint, path)]
    return []


def _type_problem(error: ValidationError, value: Any, hint: Any, path: str) -> str:
    expected = hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "")
    where = {".".join(str(p) for p in e["loc"] if isinstance(p, int)) for e in error.errors()}
    inside = f" (entry {', '.join(sorted(where - {''}))})" if where - {""} else ""
    hinted = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    suggestion = f" {near(str(value), hinted)}" if hinted else ""
    return f"{path}: expected {expected}{inside}, given {value!r}.{suggestion}"


def _epochs_positive(plain: dict[str, Any]) -> Iterator[str]:
    epochs = plain["trainer"].get("max_epochs")
    if epochs is not None and epochs < 1:
        yield f"trainer.max_epochs: at least 1 is needed, given {epochs}"


def _clip_whole(plain: dict[str, Any]) -> Iterator[str]:
    trainer = plain["trainer"]
    if trainer.get("gradient_clip_algorithm") and trainer.get("gradient_clip_val") is None:
        yield (
            "trainer.gradient_clip_algorithm is set but trainer.gradient_clip_val is null: "
            "nothing would be clipped; set both or neither"
        )


def _backend_runs(plain: dict[str, Any]) -> Iterator[str]:
    if plain["backend"] == "cpu" and plain["trainer"].get("accelerator") in ("gpu", "cuda"):
        yield "backend: 'cpu' cannot serve trainer.accelerator=gpu; use backend=auto"
    if plain["backend"] == "triton" and plain["trainer"].get("accelerator") == "cpu":
        yield "backend: 'triton' cannot serve trainer.accelerator=cpu; use backend=auto or cpu"


def _rule_fits_model(plain: dict[str, Any]) -> Iterator[str]:
    rule, model = plain["rule"]["_target_"], plain["model"]["_target_"]
    if rule.endswith(".S4NN") != model.endswith(".S4NN"):
        yield (
            f"rule: {rule} does not train {model}; the latency-coded model=s4nn is trained by "
            "rule=s4nn, all other models by rule=bptt"
        )


def _learns_on_one_process(plain: dict[str, Any]) -> Iterator[str]:
    trainer = plain["trainer"]
    alone = trainer.get("devices") in (1, "1") and trainer.get("num_nodes", 1) == 1
    if plain["rule"]["_target_"].endswith(".S4NN") and not alone:
        yield (
            "trainer.devices: rule=s4nn learns image by image and cannot be spread over processes; "
            "give trainer.devices=1, and run seeds side by side (-m seed=0,1,2)"
        )


def _strategy_serves(plain: dict[str, Any]) -> Iterator[str]:
    trainer, strategy = plain["trainer"], plain["trainer"].get("strategy")
    if isinstance(strategy, str):
        if any(w in strategy for w in ("spawn", "fork", "notebook")):
            yield (
                f"trainer.strategy: {strategy!r} starts processes that know nothing of this run's "
                "configuration; use trainer=ddp"
            )
        if strategy.startswith("fsdp"):
            yield (
                f"trainer.strategy: Lightning's {strategy!r} saves checkpoints that no other "
                "command here reads; use trainer=fsdp"
            )
    elif strategy and strategy["_target_"].endswith(".Sharded") and _float16(trainer):
        yield (
            "trainer.precision: trainer=fsdp cannot scale the loss for float16, whose overflows "
            "only one of the processes may see; use trainer.precision=bf16-mixed, or trainer=ddp"
        )


def _float16(trainer: dict[str, Any]) -> bool:
    return str(trainer.get("precision")) in ("16", "16-mixed")


def _max_time_reads(plain: dict[str, Any]) -> Iterator[str]:
    given = plain["trainer"].get("max_time")
    if isinstance(given, str) and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", given):
        yield f"trainer.max_time: expected DD:HH:MM:SS, such as 00:12:00:00, given {given!r}"


_RULES: tuple[CrossRule, ...] = (
    _epochs_positive,
    _clip_whole,
    _backend_runs,
    _rule_fits_model,
    _learns_on_one_process,
    _strategy_serves,
    _max_time_reads,
)
