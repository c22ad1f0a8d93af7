"""`vitprof mixers --new`: the files of a package with a mixer, to start from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from string import Template

from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.plugins import entry_points

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def new_mixer(name: str) -> Mapping[str, str]:
    """Return the text of each file of a package with a mixer, by its path in the package's folder.

    Args:
        name: name of the mixer, such as `my-mixer`; the package is `my_mixer`.

    Raises:
        SpecError: the name is none for a mixer or a package, or is taken.
    """
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name) or iskeyword(package):
        raise SpecError(
            f"{name!r} is no name for a mixer and its package; give lower-case letters and digits, "
            "with - or _ between them, that are no word of Python, such as my-mixer"
        )
    taken = {word for mixer in MIXERS.values() for word in (mixer.name, *mixer.aliases)}
    if {name, package.replace("_", "-")} & {*taken, *entry_points()}:
        raise SpecError(f"there is a mixer {name} already; give another name")
    if find_spec(package) is not None:
        raise SpecError(f"there is a package {package} already; give another name")
    capitals = "".join(part.capitalize() for part in package.split("_"))
    own = capitals.removesuffix("Mixer") or capitals  # since the formula imports Mixer
    words = {
        "name": name,
        "package": package,
        "flag": package.replace("_", "-"),
        "class_name": f"{own}Mixer",
    }
    places = {
        "pyproject.toml": "pyproject.toml",
        f"{package}/__init__.py": "__init__.py",
        f"{package}/formula.py": "formula.py",
        f"{package}/module.py": "module.py",
        f"tests/test_{package}.py": "test_mixer.py",
    }
    folder = files("vitprof.api") / "templates"
    return {
        place: Template((folder / f"{source}.txt").read_text(encoding="utf-8")).substitute(words)
        for place, source in places.items()
    }
