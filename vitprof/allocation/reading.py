"""Program read as a step of eager PyTorch: call by call, on tensors without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from vitprof.allocation.autograd import Boundary, EnoughError, Frame, Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.rules import RULES, Rule, move
from vitprof.errors import FormulaError
from vitprof.formulas.layer import join
from vitprof.formulas.program import Block, Call, Entry, Module, Move, Release, Repeat
from vitprof.formulas.work import Work, without_a_rule

Variables = dict[int, Tensor]

_GENERATOR = 5_056  # bytes of the state of PyTorch's generator on a CPU, `torch.get_rng_state()`


class StepReading:
    """Reading of a program, entry by entry.

    Attributes:
        eager: the step on paper that the entries run on.
        rules: memory rule of each kind of work.
        every: run each of equal blocks.
        tails: how many of the last of many equal blocks are run, by their module list; 1 usually.
        skipped: indices that were not run, by module list; they equal the block before them.
        runs: blocks that were run, by module list.
        mixer: name of the model's mixer, for error sentences.
    """

    def __init__(
        self,
        eager: Eager,
        rules: Mapping[Work, Rule] = RULES,
        *,
        every: bool = False,
        tails: Mapping[str, int] = MappingProxyType({}),
        mixer: str = "",
    ) -> None:
        self.eager = eager
        self.rules = rules
        self.mixer = mixer
        self.every = every
        self.tails = tails
        self.skipped: dict[str, range] = {}
        self.runs: dict[str, list[_Run]] = {}
        if eager.checkpoint and eager.training:
            eager.recompute = self._recompute

    def run(self, body: Sequence[Entry], variables: Variables, path: str) -> None:
        """Run entries of the module at `path`; variables hold what they make."""
        m, timeline = self.eager, self.eager.timeline
        for place, entry in enumerate(body):
            if isinstance(entry, Release):
                held = variables.pop(entry.tensor, None)
                if held is not None:
                    m.drop(held)
            elif isinstance(entry, Call):
                timeline.at = join(path, entry.op.name)
                inputs = [variables[number] for number in entry.reads]
                rule = self.rules.get(entry.op.work)
                if rule is None:
                    whose = f"mixer {self.mixer}" if "mixer" in path.split(".") else "the model"
                    where = f"{whose}, op {timeline.at}"
                    raise FormulaError(
                        without_a_rule(where, "memory rule for the work", entry.op.work, self.rules)
                    )
                variables[entry.write] = m.hold(rule(m, entry.op, *inputs))
            elif isinstance(entry, Move):
                timeline.at = join(path, entry.method)
                inputs = [variables[number] for number in entry.reads]
                for number, made in zip(entry.writes, move(m, entry, inputs), strict=True):
                    variables[number] = m.hold(made)
            elif isinstance(entry, Module):
                self.run(entry.body, variables, join(path, entry.name))
            elif isinstance(entry, Block):
                self._block(entry, variables, path)
            else:
                # A loop that rebinds its variable frees its first input after one iteration.
                rebound = body[place + 1 : place + 2] == [Release(entry.read)]
                self._repeat(entry, variables, path, rebound=rebound)

    def _block(self, entry: Block, variables: Variables, path: str) -> None:
        m = self.eager
        if not (m.checkpoint and m.training) or m.recomputing is not None:
            self.run(entry.body, variables, path)
            return
        m.timeline.at = path
        states = self._generator_states(entry.body)
        inputs = {}
        for number in entry.reads:
            x = variables[number]
            # What blocks share is saved once, by the module that makes it.
            own = number == entry.reads[0]
            m.timeline.at = path if own else x.storage.at.rpartition(".")[0]
            inputs[number] = m.keep(x)
        frame = Frame(entry.body, inputs, path)
        frame.generator = [m.keep(state) for state in states]
        with m.promising(frame):
            self.run(entry.body, variables, path)
        if not frame.promises:
            m.let_go(frame)

    def _generator_states(self, body: Sequence[Entry]) -> list[Tensor]:
        """Allocate the state of a CPU's generator if the entries draw random numbers."""
        return self.eager.buffers(_GENERATOR) if _draws(body) else []

    def _recompute(self, frame: Frame) -> None:
        """Run a block again until it has made all that it promised: PyTorch stops there."""
        m = self.eager
        casts, m.casts, m.recomputing = m.casts, {}, frame
        frame.kept += [m.hold(state) for state in self._generator_states(frame.body)]
        variables = {number: m.hold(kept) for number, kept in frame.inputs.items()}
        with suppress(EnoughError):
            self.run(frame.body, variables, frame.path)
        for held in (*variables.values(), *frame.kept):
            m.drop(held)
        m.leave_autocast()
        m.casts, m.recomputing = casts, None

    def _repeat(self, entry: Repeat, variables: Variables, path: str, *, rebound: bool) -> None:
        """Run equal modules one after the other; of many blocks, only those that differ.

        The allocations of a block follow from its input's signature. So once the signature of
        a block's output is that of its input, all blocks after it are equal: of these only the
        last are run, and `settle` books what the others hold when the step is over.
        """
        m = self.eager
        first = variables[entry.read]
        if not rebound:
            m.hold(first)
        index = entry.here.start
        while index in entry.here:
            skip = self._run_one(entry, variables, path, index)
            index += 1
            if skip and not path and not entry.numbers and not self.every:
                index = self._skip(entry, index)
        if entry.write != entry.read:
            variables[entry.write] = variables.pop(entry.read)
        if not rebound:
            variables[entry.read] = first

    def _run_one(self, entry: Repeat, variables: Variables, path: str, index: int) -> bool:
        """Run one of equal modules; return True if its output has the signature of its input."""
        m = self.eager
        before, begin = m.signature(variables[entry.read]), m.timeline.now
        self.run(entry.body, variables, join(path, f"{entry.name}.{index}"))
        if entry.write != entry.read:
            m.drop(variables[entry.read])
            variables[entry.read] = variables.pop(entry.write)
        x = variables[entry.read]
        boundary = Boundary()
        if x.node is not None and not path:
            boundary = m.watched.setdefault(x.node, boundary)
        self.runs.setdefault(entry.name, []).append(_Run(index, begin, m.timeline.now, boundary))
        return m.signature(x) == before

    def _skip(self, entry: Repeat, index: int) -> int:
        """Skip all equal modules but the last ones, and return the index of the next to run."""
        end = entry.times.value - self.tails.get(entry.name, 1)
        if end <= index or entry.name in self.skipped:
            return index
        self.skipped[entry.name] = range(index, end)
        return end

    def settle(self, forward: int) -> list[str]:
        """Book the storages of skipped blocks, when the step is over.

        Args:
            forward: the last instant of the forward pass.

        Returns:
            Names of module lists of which more blocks have to be run: the gradient that enters
            the last blocks has another signature than the one that leaves them.
        """
        timeline, unlike = self.eager.timeline, []
        for name, skipped in self.skipped.items():
            *_, template, after = self.runs[name][: -self.tails.get(name, 1) + 1 or None]
            if template.boundary.gradient != after.boundary.gradient:
                unlike.append(name)
                continue
            there = f"{name}.{template.index}."
            for storage in [*timeline.storages]:
                if template.begin < storage.birth <= template.end and storage.last > after.end:
                    last = storage.last if storage.last <= forward else template.boundary.instant
                    timeline.add(storage, len(skipped), template.end + 1, last)
                elif storage.kind == "gradients" and storage.at.startswith(there):
                    timeline.add(storage, len(skipped), template.boundary.instant + 1, storage.last)
        return unlike


def _draws(body: Sequence[Entry]) -> bool:
    """Return True if entries draw random numbers."""
    return any(
        _draws(entry.body)
        if isinstance(entry, Module | Block | Repeat)
        else isinstance(entry, Call) and entry.op.work in (Work.DROPOUT, Work.DROP_PATH)
        for entry in body
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """Run of one of equal blocks.

    Attributes:
        index: index in the module list.
        begin: the last instant before it.
        end: its last instant.
        boundary: boundary after it.
    """

    index: int
    begin: int
    end: int
    boundary: Boundary
