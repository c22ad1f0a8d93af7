"""How torchinfo reads a module: by hooks on its leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.counters.reading import Counter, Reading

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchinfo.layer_info import LayerInfo


def params(module: nn.Module) -> Reading:
    """Total and per submodule, as `torchinfo.summary(module)` counts them."""
    import torchinfo

    statistics = torchinfo.summary(module, verbose=0)
    paths = _paths(module)
    by_path: dict[str, int] = {}
    for info in statistics.summary_list:
        path = paths[info.layer_id]
        by_path[path] = info.num_params
        by_path.update(_own(path, info))
    return Reading(total=statistics.total_params, by_path=by_path)


def macs(module: nn.Module, inputs: Tensor) -> Reading:
    """Mult-adds, total and per leaf, as `torchinfo.summary(module, input_data=...)` does.

    torchinfo sums its total over leaves alone, so a module's figure is that of the
    leaves below it.
    """
    import torchinfo
    import torchinfo.torchinfo as engine

    cached = dict(engine._cached_forward_pass)
    try:
        statistics = torchinfo.summary(module, input_data=inputs, verbose=0)
    finally:
        engine._cached_forward_pass.clear()
        engine._cached_forward_pass.update(cached)
    paths = _paths(module)
    by_path = dict.fromkeys(paths.values(), 0)
    for info in statistics.summary_list:
        if info.is_leaf_layer:
            for path in _ancestors(paths[info.layer_id]):
                by_path[path] += info.macs
    return Reading(total=statistics.total_mult_adds, by_path=by_path)


def _own(path: str, info: LayerInfo) -> dict[str, int]:
    """The parameters that a module with children lists as its own, by path."""
    from torchinfo.enums import ColumnSettings

    if info.is_leaf_layer:
        return {}
    rows = {name: row for name, row in info.inner_layers.items() if "." not in name}
    return {
        f"{path}.{name}" if path else name: _number(row[ColumnSettings.NUM_PARAMS])
        for name, row in rows.items()
    }


def _number(cell: str) -> int:
    """A count out of a cell such as `└─1,234`."""
    return int(cell.strip("├└─").replace(",", ""))


def _paths(module: nn.Module) -> dict[int, str]:
    return {id(submodule): path for path, submodule in module.named_modules()}


def _ancestors(path: str) -> list[str]:
    """The path itself, those of all modules around it, and the root's."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts) + 1)]


TORCHINFO = Counter(name="torchinfo", package="torchinfo", params=params, macs=macs)
