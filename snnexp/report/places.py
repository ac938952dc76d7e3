"""What a record says of its machine's folders, made fit to be read elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

#: an absolute path up to its last name: quoted (it may hold spaces), or a word of its own; neither
#: a figure's name (test/acc) nor an address (https://...)
_QUOTED = re.compile(r"""(['"])(?:~|/)[^'"]*/(?=[^'"/]+/?\1)""")
_BARE = re.compile(r"""(?<![\w.:/>])~?/(?=[\w.~-])(?:[^\s'"`<>|:;,()\[\]{}/]+/)*""")


def command_line(words: Sequence[str]) -> str:
    """Return a command as one would type it elsewhere: absolute paths are left open, as `...`."""
    return shlex.join(_elsewhere(word) for word in words)


def error_line(error: str | None) -> str:
    """Return the last line of a traceback; of absolute paths only the last name: `.../a.edf`."""
    if not error or not error.strip():
        return ""
    line = error.strip().splitlines()[-1]
    return _BARE.sub(".../", _QUOTED.sub(r"\1.../", line))


def _elsewhere(word: str) -> str:
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}..." if value.startswith(("/", "~")) else word
