"""Make the steps of a derivation from a tree of formulas.

A step counts one op. A layer that stands for several equal ones is derived once, and then
multiplied by their number; what is in other layers is added up with what is around them, as long
as the sum is short enough to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from vitprof.formulas.layer import Layer, Measure, Node
from vitprof.formulas.op import Op
from vitprof.formulas.symbols import OWN
from vitprof.values.size import Size

_LONGEST_SUM = 12  # terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """The count of one op, of one of equal layers.

    Attributes:
        path: path of the op, equal layers folded.
        type: class of the torch module.
        words: the op as a phrase.
        size: its count, with its formula.
        where: names in the formula that are its own.
    """

    path: str
    type: str
    words: str
    size: Size
    where: tuple[Size, ...] = ()

    times = 1

    @property
    def each(self) -> int:
        """Its count."""
        return self.size.value

    def key(self, within: str) -> tuple[object, ...]:
        """Return what it has in common with an equal op of a layer equal to `within`."""
        return (self.path.removeprefix(within), self.words, self.size.formula, self.size.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The counts of all that is in a layer.

    Attributes:
        path: path of the layer, equal layers folded.
        type: class of the torch module.
        times: number of equal layers.
        terms: counts that add up to that of one of them.
        where: names in the formulas that are its own.
        like: path of an earlier group with the same terms; empty if there is none.
    """

    path: str
    type: str
    times: int
    terms: tuple[Term | Group, ...]
    where: tuple[Size, ...] = ()
    like: str = ""

    @property
    def each(self) -> int:
        """Count of one of the equal layers."""
        return sum(term.times * term.each for term in self.terms)

    def key(self, within: str) -> tuple[object, ...]:
        """Return what it has in common with an equal layer in a layer equal to `within`."""
        name = self.path.removeprefix(within)
        return (name, self.times, *(term.key(self.path) for term in self.terms))

    def walk(self, times: int = 1) -> Iterator[tuple[Term, int]]:
        """Yield all terms, those in other groups too, each with the number of equal ones."""
        times *= self.times
        for term in self.terms:
            if isinstance(term, Group):
                yield from term.walk(times)
            else:
                yield term, times

    def groups(self) -> Iterator[Group]:
        """Yield the groups that are derived, inner ones first, and this one last."""
        for term in self.terms:
            if isinstance(term, Group) and not term.like:
                yield from term.groups()
        yield self


def derive(tree: Layer, measure: Measure, *, fold: bool) -> Group:
    """Return the counts of a tree as terms of sums.

    Args:
        tree: the formulas.
        measure: what is counted.
        fold: derive equal layers once.
    """
    root = _branches(tree.walk(fold=fold))
    return _alike(Group(path="", type=tree.type, times=1, terms=_terms(root, measure)), {})


def uncounted(tree: Layer) -> list[Group]:
    """Return the elements of work outside contractions, one term a kind of work.

    The layers that stand for several equal ones have a group each, and all other work another.
    The words of a term are the paths of its ops.
    """
    found: dict[str, dict[str, list[_Work]]] = {}
    around = {"": (1, tree.type)}
    path = ""
    for node in tree.walk(fold=True):
        if not (path and node.path.startswith(f"{path}.")):
            path = node.path if node.repeat > 1 else ""
            around.setdefault(path, (node.repeat, node.item.type))
        times = around[path][0]
        if isinstance(node.item, Op):
            for work, size in node.item.uncounted:
                name = node.path.removeprefix(f"{path}.")
                kinds = found.setdefault(path, {})
                _add(kinds.setdefault(str(work), []), name, size, node.repeat // times)
    groups = []
    for path, kinds in sorted(found.items(), key=lambda one: not one[0]):  # the others last
        times, type_ = around[path]
        terms = tuple(
            Term(path=work.replace("_", " "), type=work, words=some(one.paths), size=one.size)
            for work, ones in kinds.items()
            for one in ones
        )
        groups.append(Group(path=path, type=type_, times=times, terms=terms))
    return groups


@dataclass(slots=True)
class _Work:
    """Work of one kind, whose formulas are added up as far as a name means the same in them."""

    parts: dict[tuple[str, str], tuple[Size, int]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    names: dict[str, tuple[object, ...]] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        total, *others = [
            each if times == 1 else Size(times) * each for each, times in self.parts.values()
        ]
        for other in others:
            total = total + other
        return total


def _add(ones: list[_Work], path: str, size: Size, times: int) -> None:
    names = {one.name: _meaning(one) for one in size.names()}
    for work in ones:
        if all(work.names.get(name, meaning) == meaning for name, meaning in names.items()):
            break
    else:
        work = _Work()
        ones.append(work)
    work.names |= names
    work.paths.append(path)
    key = (size.formula, size.numbers)
    each, before = work.parts.get(key, (size, 0))
    work.parts[key] = (each, before + times)


def some(paths: Sequence[str], most: int = 6) -> str:
    """List paths; of a long list, the first ones and the number of others."""
    if len(paths) <= most:
        return ", ".join(paths)
    return f"{', '.join(paths[: most - 1])} and {len(paths) - most + 1} others"


def scoped(groups: Sequence[Group]) -> tuple[list[tuple[Size, bool]], list[Group]]:
    """Return the names in groups of the same model, and the groups with the names that differ.

    A name is defined for the whole model if it has one meaning there, else for the terms of a
    group, else for a single term.

    Returns:
        Each name once, and True if it means the same for the whole model; and the groups, in
        which all other names are defined.
    """
    every = [term for group in groups for term, _ in group.walk()]
    legend = _of_one_meaning(every, set())
    known = {size.name for size in legend}
    names = {size.name: size for term in every for size in term.size.names()}
    return (
        [(size, name in known) for name, size in names.items()],
        [_scoped(group, known) for group in groups],
    )


@dataclass(slots=True)
class _Branch:
    node: Node
    below: list[_Branch] = field(default_factory=list)


def _branches(nodes: Iterable[Node]) -> _Branch:
    """Return the first of the nodes, parents first, each with the nodes directly below it."""
    around: list[_Branch] = []
    for node in nodes:
        branch = _Branch(node)
        del around[node.level :]
        if around:
            around[-1].below.append(branch)
        around.append(branch)
    return around[0]


def _terms(branch: _Branch, measure: Measure) -> tuple[Term | Group, ...]:
    terms: list[Term | Group] = []
    for child in branch.below:
        node, item = child.node, child.node.item
        if isinstance(item, Op):
            size = measure.of(item)
            if size.value:
                terms.append(Term(path=node.path, type=item.type, words=item.words, size=size))
            continue
        inner = _terms(child, measure)
        if inner:
            times = node.repeat // branch.node.repeat
            terms.append(Group(path=node.path, type=item.type, times=times, terms=inner))
    opened = [inner for term in terms for inner in _opened(term)]
    if len(opened) <= _LONGEST_SUM:
        return tuple(opened)
    return tuple(
        term.terms[0] if isinstance(term, Group) and _is_one(term) else term for term in terms
    )


def _opened(term: Term | Group) -> tuple[Term | Group, ...]:
    return term.terms if isinstance(term, Group) and term.times == 1 else (term,)


def _is_one(group: Group) -> bool:
    return group.times == 1 and len(group.terms) == 1


def _alike(group: Group, met: dict[tuple[object, ...], str]) -> Group:
    """Mark the groups whose terms an earlier group has."""
    terms: list[Term | Group] = []
    for term in group.terms:
        made = term
        if isinstance(term, Group):
            made = _alike(term, met)
            key = tuple(one.key(term.path) for one in term.terms)
            made = replace(made, like=met.get(key, ""))
            met.setdefault(key, term.path)
        terms.append(made)
    return replace(group, terms=tuple(terms))


def _meaning(size: Size) -> tuple[object, ...]:
    """Return the value of a name and its arithmetic, down to names that have none."""
    arithmetic = []
    for one in size.names():  # itself first
        definition = one.definition
        formula = definition.formula if definition is not None else ""
        arithmetic.append((one.name, one.value, formula))
    return tuple(arithmetic)


def _of_one_meaning(terms: Iterable[Term], known: set[str]) -> tuple[Size, ...]:
    """Return the names, other than known ones, that have one meaning in all terms."""
    found: dict[str, dict[tuple[object, ...], Size]] = {}
    for term in terms:
        for size in term.size.names():
            if size.name not in OWN and size.name not in known:
                found.setdefault(size.name, {}).setdefault(_meaning(size), size)
    return tuple(next(iter(one.values())) for one in found.values() if len(one) == 1)


def _scoped(group: Group, known: set[str]) -> Group:
    own = _of_one_meaning((term for term in group.terms if isinstance(term, Term)), known)
    inside = known | {size.name for size in own}
    terms = tuple(
        _scoped(term, known) if isinstance(term, Group) else _own(term, inside)
        for term in group.terms
    )
    return replace(group, where=own, terms=terms)


def _own(term: Term, known: set[str]) -> Term:
    names = {size.name: size for size in term.size.names() if size.name not in known}
    return replace(term, where=tuple(names.values()))


def summed(counts: Sequence[int]) -> Size:
    """Return numbers as a sum; a negative one is subtracted."""
    first, *others = counts
    total = Size(first)
    for count in others:
        total = total - Size(-count) if count < 0 else total + Size(count)
    return total
