"""Costs of a model by formula: the quantities by which models are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.request.budget import Budget
from vitprof.request.workload import Workload
from vitprof.subject import Configurable
from vitprof.sweeps import memory

# Cost of a model under a workload; the budget is for memory on a GPU and for the largest batch.
Cost = Callable[[Configurable, Workload, Budget | None], int]


def _params(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    return model.tree(Measure.PARAMS).total(Measure.PARAMS)


def _macs(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    return model.formula(workload.batch).total(Measure.MACS)


def _training_macs(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    from vitprof.allocation.training import training

    tree = training(model, workload.batch, checkpoint=workload.checkpoint)
    return tree.total(Measure.TRAINING)


def _memory(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    return memory.peak(model, workload)


def _gpu_memory(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    if budget is None or budget.platform is None:
        raise SpecError("memory on a GPU needs its name; give --gpu, such as h100")
    return memory.takes(model, workload, budget)


def _batch(model: Configurable, workload: Workload, budget: Budget | None) -> int:
    if budget is None:
        raise SpecError(
            "the largest batch needs a memory budget; give --gpu, such as h100, "
            "or --memory, such as 24GiB"
        )
    return memory.largest(model, workload, budget)


COSTS: Mapping[str, Cost] = {
    "params": _params,
    "macs": _macs,
    "training_macs": _training_macs,
    "memory": _memory,
    "gpu_memory": _gpu_memory,
    "batch": _batch,
}
