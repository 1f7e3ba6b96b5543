"""Which of the tensors in a file are the network's: under any prefix, in any dict, beside anything else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from ..errors import ExportError
from ..families import FAMILIES
from .content import Content
from .lookalikes import LOOKALIKES

WRAPPERS = ("model_state_dict", "state_dict", "model_state", "model", "net")  # keys that trainers keep weights under
# Segments that wrappers put into names: torch.compile, FSDP, activation checkpointing, Lightning Fabric.
INSERTED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
AVERAGED = re.compile(r"(^|[_.])(ema|swa|averaged?|shadow|polyak)([_.]|$)|^ema|ema\.?$", re.IGNORECASE)
NO_NETWORK = re.compile(r"optim|sched|scaler|loss|criterion|metric|confmat|preproc|normali[sz]|history", re.IGNORECASE)
FEW = 1000  # numbers: a layer has more, a mean, a filter of a loss or a small table has not


@dataclass(frozen=True)
class Network:
    """A network in a file: the prefix of its keys; the table that they lie in, None where they are spread over more."""

    prefix: str
    table: str | None

    @property
    def name(self) -> str:
        """What to give to --weights."""
        return self.prefix.rstrip(".")


@dataclass(frozen=True)
class Selected:
    """The weights that were chosen, without their prefix.

    Attributes:
        name: the prefix that all had, without its last dot.
        others: names for `--weights` of the networks that were not chosen.
        left_out: tensors beside the network that belong to none.
        in_module: whether they lie in a pickled module.
    """

    state: dict[str, Tensor]
    name: str
    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    in_module: bool = False


def select(content: Content, wanted: str | None) -> Selected:
    """Choose the network's weights.

    Args:
        content: what the file holds.
        wanted: of several networks the one under this key or prefix.

    Raises:
        ExportError: there are no weights, none under `wanted`, or several networks and no `wanted`.
    """
    if not content.tensors:
        raise ExportError(f"no weights found; expected a state dict, or a dict with one under {', '.join(WRAPPERS)}")
    content, networks = _unwrapped(content)
    if wanted is not None:
        return _wanted(content, networks, wanted)
    if not networks:
        return _largest_table(content)
    chosen = networks[0] if len(networks) == 1 else _preferred(networks)
    _check_alone(content, chosen)
    return _selected(content, networks, chosen)


def _unwrapped(content: Content) -> tuple[Content, list[Network]]:
    """The content under the names that the network itself gives, as far as need be, and the networks in it."""
    plain = _without_segments(content, INSERTED)
    networks = find_networks(plain)
    if networks:
        return plain, networks
    plainer = _without_segments(content, INSERTED | {"module"})  # DataParallel within the network
    networks = find_networks(plainer)
    return (plainer if networks else plain), networks


def find_networks(content: Content) -> list[Network]:
    """Every prefix at which the keys of a known network lie."""
    names, tables = content.tensors.keys(), content.tables
    found: dict[str, Network] = {}
    for anchors in (*(anchors for family in FAMILIES for anchors in family.anchors), *LOOKALIKES):
        for prefix in _prefixes(names, anchors):
            held_by = {tables[prefix + key] for key in anchors}
            found.setdefault(prefix, Network(prefix, held_by.pop() if len(held_by) == 1 else None))
    return list(found.values())


def is_layer(tensor: Tensor) -> bool:
    """Whether a tensor is the weight of a layer rather than some constant."""
    return tensor.dim() >= 2 and tensor.numel() > FEW


def _prefixes(names: Iterable[str], anchors: tuple[str, ...]) -> list[str]:
    first = anchors[0]
    ends = [name[: -len(first)] for name in names if name.endswith(first)]
    return [end for end in ends if end[-1:] in ("", ".") and all(end + key in names for key in anchors)]  # type: ignore[operator]


def _without_segments(content: Content, segments: frozenset[str]) -> Content:
    """The content without some segments of all names; as it was if two names became one."""

    def clean(name: str) -> str:
        return ".".join(part for part in name.split(".") if part not in segments)

    tensors = {clean(name): tensor for name, tensor in content.tensors.items()}
    if len(tensors) < len(content.tensors):
        return content
    tables = {clean(name): clean(table) for name, table in content.tables.items()}
    modules = {clean(prefix): kind for prefix, kind in content.modules.items()}
    return replace(content, tensors=tensors, tables=tables, modules=modules)


def _wanted(content: Content, networks: list[Network], wanted: str) -> Selected:
    """The network at, or else somewhere under, a prefix."""
    inside = f"{wanted.strip('.')}."
    at = [network for network in networks if network.prefix.startswith(inside)]
    under = at or [network for network in networks if f".{inside}" in f".{network.prefix}"]
    if len(under) == 1:
        return _selected(content, networks, under[0])
    if under:
        raise ExportError(f"--weights {wanted}: several networks lie there; add {_choices(under)}")
    if any(name.startswith(inside) for name in content.tensors):
        return _selected(content, networks, Network(inside, None))
    known = f"; the file has {_choices(networks)}" if networks else f"; its keys begin with {_beginnings(content)}"
    raise ExportError(f"--weights {wanted}: no weights lie there{known}")


def _preferred(networks: list[Network]) -> Network:
    """The one that is trained, by the key that trainers use, rather than its running average."""
    trained = [network for network in networks if not AVERAGED.search(network.prefix)] or networks
    ranks = [_rank(network) for network in trained]
    best = min(ranks)
    if len(trained) == 1 or (best < len(WRAPPERS) and ranks.count(best) == 1):
        return trained[ranks.index(best)]
    raise ExportError(f"{len(trained)} networks are in it; add {_choices(trained)}")


def _rank(network: Network) -> int:
    parts = (network.table or "").split(".")
    return min((WRAPPERS.index(part) for part in parts if part in WRAPPERS), default=len(WRAPPERS))


def _check_alone(content: Content, chosen: Network) -> None:
    """Refuse a network beside another of any kind: a generator beside its critic, which it may not be."""
    usual = _rank(chosen) < len(WRAPPERS) or AVERAGED.search(chosen.prefix)
    groups: dict[str, None] = {}
    for name, tensor in content.tensors.items():
        table = content.tables[name]
        if name.startswith(chosen.prefix) or not is_layer(tensor) or (usual and table != chosen.table):
            continue
        start = chosen.table if chosen.table is not None and name.startswith(chosen.table) else ""
        group = start + name[len(start) :].split(".")[0]
        if not NO_NETWORK.search(name) and not AVERAGED.search(group):
            groups[group] = None
    if groups and chosen.prefix:
        names = [chosen.name, *groups]
        raise ExportError(
            f"several networks are in it, under {', '.join(names[:4])}; say which labels pictures, "
            f"add --weights {chosen.name} for the one that is known"
        )


def _selected(content: Content, networks: list[Network], chosen: Network) -> Selected:
    prefix, table = chosen.prefix, chosen.table
    same = [name for name in content.tensors if table is None or content.tables[name] == table]
    state = {name[len(prefix) :]: content.tensors[name] for name in same if name.startswith(prefix)}
    beside = [name[len(table or "") :] for name in same if table is not None and not name.startswith(prefix)]
    others = tuple(other.name for other in networks if other.prefix != prefix and other.name)
    return Selected(state, chosen.name, others, tuple(beside), _in_module(content, prefix))


def _largest_table(content: Content) -> Selected:
    """Where nothing is known: the weights under the keys that trainers use, else the most that lie together."""
    sizes: dict[str, int] = {}
    for name, table in content.tables.items():
        sizes[table] = sizes.get(table, 0) + content.tensors[name].numel()
    table = min(sizes, key=lambda table: (_rank(Network(table, table)), -sizes[table]))
    selected = _selected(content, [], Network(table, table))
    state = selected.state
    while all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return replace(selected, state=state)


def _in_module(content: Content, prefix: str) -> bool:
    return any(prefix.startswith(module) for module in content.modules)


def _choices(networks: list[Network]) -> str:
    return " or ".join(f"--weights {network.name}" for network in networks if network.name)


def _beginnings(content: Content) -> str:
    firsts = list(dict.fromkeys(name.split(".")[0] for name in content.tensors))
    return ", ".join(firsts[:6]) + (", ..." if len(firsts) > 6 else "")
