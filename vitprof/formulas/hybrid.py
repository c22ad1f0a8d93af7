"""Hybrids: blocks of one model with several mixers.

attn+linear          the blocks of each list have attn and linear in turn
mixer_at             other mixers at single places: 2,5,8=linear

A hybrid is a class that is made of the mixers' classes. Its options are theirs together, and an
option that several of them have is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from math import lcm
from typing import Any, ClassVar

from vitprof.errors import SpecError, listing
from vitprof.formulas.mixer import BlockList, Mixer, MixerSizes
from vitprof.formulas.plugins import describe, name_of
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.derived import derived
from vitprof.values.numbers import in_a_word
from vitprof.values.options import Constraint, Placed, declare
from vitprof.values.places import Place, read_places

MIXER_AT = Placed(
    help="other mixers of single blocks, such as 2,5,8=linear or stages.2-3=attn; may repeat"
)


@dataclass(frozen=True, kw_only=True)
class Hybrid(Mixer):
    """Mixers of a model whose blocks have several.

    Attributes:
        turns: mixers that the blocks of each list have in turn.
        members: every mixer, with its options, by its class.
    """

    source = "see the mixers"
    module = ""

    _parts: ClassVar[tuple[type[Mixer], ...]] = ()

    mixer_at: ClassVar[str] = ""  # an option of those with mixers at single places

    @classmethod
    def parts(cls) -> tuple[type[Mixer], ...]:
        return cls._parts

    @derived
    def members(self) -> dict[type[Mixer], Mixer]:
        """Mixers of the blocks by class."""
        return {part: self._member(part) for part in self._parts}

    def _member(self, part: type[Mixer]) -> Mixer:
        own = {name: getattr(self, name) for name in part.declared()}
        return part(**own) if self.checked else part().substitute(**own)

    @derived
    def _places(self) -> list[tuple[Place, type[Mixer]]]:
        """Places of other mixers than those in turn."""
        by_name = {name_of(part): part for part in self._parts}
        found = read_places(self.mixer_at) if self.mixer_at else []
        assert found is not None
        for place, name in found:
            if name not in by_name:
                raise SpecError(
                    f"mixer at {place.word}={name} names a mixer that is not one of "
                    f"{listing(by_name, 'and')}; build the model anew"
                )
        return [(place, by_name[name]) for place, name in found]

    def constraints(self) -> Iterator[Constraint]:
        for member in self.members.values():
            yield from member.constraints()

    def admits(self, sizes: MixerSizes) -> Iterator[Constraint]:
        for member in self.members.values():
            yield from member.admits(sizes)

    def fits(self, lists: Sequence[BlockList], model: str) -> Iterator[Constraint]:
        blocks = [(*one.path.split("."), str(n)) for one in lists for n in range(one.depth.value)]
        own = listing((f"{one.path}.{in_a_word(range(one.depth.value))}" for one in lists), "and")
        names = listing((part.name for part in self._parts), "and")
        yield Constraint(
            lists[0].path != "",
            lambda: (
                f"{model} is a single block, and {names} are several mixers; give one of them, or "
                "a model of several blocks"
            ),
        )
        for place, part in self._places:
            for single in place.single():
                wrong = f"mixer at {single.word}={part.name} names no block"
                yield Constraint(
                    any(map(single.has, blocks)),
                    partial("{}; give some of those of {}, {}".format, wrong, model, own),
                )
        for block in blocks:
            words = [place.word for place, _ in self._places if place.has(block)]
            yield Constraint(len(words) < 2, partial(_named_twice, ".".join(block), words))
        used = {type(mixer) for one in lists for mixer in self._of_list(one)}
        for part in self._parts:
            yield Constraint(part in used, partial(_unused, part.name, f"{model} are {own}"))

    def of_blocks(self, blocks: BlockList, sizes: MixerSizes) -> tuple[Mixer, ...]:
        each = {part: member.of_blocks(blocks, sizes) for part, member in self.members.items()}
        own = [each[type(mixer)] for mixer in self._of_list(blocks)]
        return tuple([mixers[number % len(mixers)] for number, mixers in enumerate(own)])

    def _of_list(self, blocks: BlockList) -> list[Mixer]:
        """Return the mixer of each block of a list."""
        path, found = blocks.path.split("."), []
        for number in range(blocks.depth.value):
            at = [part for place, part in self._places if place.has((*path, str(number)))]
            found.append(self.members[at[0] if at else self.turns[number % len(self.turns)]])
        return found

    @property
    def needs_grid(self) -> bool:
        return any(member.needs_grid for member in self.members.values())

    @property
    def needs_patches(self) -> str:
        return next(filter(None, (one.needs_patches for one in self.members.values())), "")

    @property
    def divisor(self) -> int:
        return lcm(*(member.divisor for member in self.members.values()))

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        """Refuse to run: each block runs the mixer that it has."""
        raise SpecError(f"{self.name} is of several blocks, each with one of its mixers")


def names_in(mixer: object, at: object = "") -> list[str]:
    """Return the name of each mixer that words of a mixer and of single places name."""
    places = read_places(at) if isinstance(at, str) else None
    turns = mixer.split("+") if isinstance(mixer, str) else []
    return [*(name.strip() for name in turns), *(name for _, name in places or [])]


def _named_twice(block: str, words: list[str]) -> str:
    return f"mixer at names block {block} twice, by {listing(words, 'and')}; leave it out of one"


def _unused(mixer: str, blocks: str) -> str:
    return (
        f"no block has the mixer {mixer}: the blocks of {blocks}; leave it out, or give more blocks"
    )


def hybrid(turns: tuple[type[Mixer], ...], others: tuple[type[Mixer], ...] = ()) -> type[Mixer]:
    """Return the class of mixers that the blocks have in turn, and of others at single places.

    Raises:
        SpecError: two mixers have an option of the same name, and of another kind or default.
    """
    parts = tuple(dict.fromkeys((*turns, *others)))
    return turns[0] if len(parts) == 1 else _made(turns, parts, has_places=bool(others))


@lru_cache(64)
def _made(
    turns: tuple[type[Mixer], ...], parts: tuple[type[Mixer], ...], *, has_places: bool
) -> type[Mixer]:
    annotations: dict[str, Any] = {"mixer_at": "str"} if has_places else {}
    made: dict[str, Any] = {"mixer_at": declare("", MIXER_AT)} if has_places else {}
    owners: dict[str, type[Mixer]] = {}
    for part in parts:
        declared = part.declared()
        for one in fields(part):
            if one.name not in declared:
                continue
            other = made.get(one.name)
            if other is None:
                annotations[one.name] = one.type
                made[one.name] = field(default=one.default, metadata=one.metadata)
                owners[one.name] = part
            elif other.default != one.default or type(other.metadata["option"]) is not type(
                one.metadata["option"]
            ):
                raise SpecError(
                    f"{describe(owners[one.name])} and {describe(part)} both have an option "
                    f"{one.name}, of another kind or default; they cannot be in one model"
                )
    own = {
        **made,
        "__annotations__": annotations,
        "__module__": __name__,
        "name": "+".join(part.name for part in turns),
        "summary": listing((part.name for part in parts), "and") + " in different blocks",
        "source": "; ".join(part.source for part in parts),
        "turns": turns,
        "_parts": parts,
    }
    return dataclass(frozen=True, kw_only=True)(type("Hybrid", (Hybrid,), own))
