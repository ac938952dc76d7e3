"""The 14 classes, and the table that tells a capture's class from its path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from snnexp.data.base import DataError

CATEGORIES = ("Video", "VOIP", "FileTransfer", "Chat", "Browsing")
ENCRYPTIONS = ("nonVPN", "Tor", "VPN")
#: the authors' order (Rasteh et al. 2022, Labels.csv); nobody captured browsing through the VPN
CLASSES = tuple(
    f"{category}_{encryption}"
    for category in CATEGORIES
    for encryption in ENCRYPTIONS
    if (category, encryption) != ("Browsing", "VPN")
)
IGNORE = "ignore"
TABLE = Path(__file__).with_name("labels.yaml")

Rule = tuple[re.Pattern[str], str]


class LabelTable:
    """Ordered rules for encryption and category (`labels.yaml` says how they are read).

    Raises DataError where the file is missing or not such a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(f"label table {path} is missing (task.labels)") from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DataError(f"label table {path} cannot be read: {error}") from error
        if not isinstance(content, dict) or set(content) != {"encryption", "category"}:
            raise DataError(f"label table {path} needs two lists: encryption and category")
        self.encryption = self._rules(content, "encryption", ENCRYPTIONS)
        self.category = self._rules(content, "category", CATEGORIES)

    def _rules(self, content: dict[str, object], part: str, allowed: Sequence[str]) -> list[Rule]:
        rows, rules = content[part], []
        for i, row in enumerate(rows if isinstance(rows, list) else [rows]):
            where = f"label table {self.path}, {part} rule {i + 1}"
            if not isinstance(row, dict) or set(row) != {"match", "is"}:
                raise DataError(f"{where} is {row!r}; expected {{match: <regex>, is: <class>}}")
            if row["is"] not in (*allowed, IGNORE):
                raise DataError(
                    f"{where} says {row['is']!r}; expected {', '.join(allowed)}, ignore"
                )
            try:
                rules.append((re.compile(str(row["match"])), str(row["is"])))
            except re.error as error:
                raise DataError(
                    f"{where}: {row['match']!r} is no regular expression: {error}"
                ) from (error)
        return rules

    def label(self, path: Path) -> str:
        """Return the class of a path below data_dir, or `ignore`; KeyError where no rule matches.

        Browsing through a VPN, which is no class, counts as ignored.
        """
        text = path.with_suffix("").as_posix().lower()
        category = _first(self.category, text)
        encryption = _first(self.encryption, text)
        if category is None or encryption is None:
            raise KeyError(text)
        name = f"{category}_{encryption}"
        return name if name in CLASSES else IGNORE


def _first(rules: list[Rule], text: str) -> str | None:
    return next((value for pattern, value in rules if pattern.search(text)), None)
