"""Labels: the short texts by which people tell designs apart, such as `one-cycle(max 3e-3) · b16 · ws+small`.

A label names the learning-rate policy and the batch sizes, then what differs from the defaults. `ws` is weight sharing and `small` the
small decoder. No two designs have the same label, and each label is read back.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.notation import parse_policy
from fastrcaps_dse.problem.schedules import (
    LR_POLICIES,
    AdaBatch,
    AdaBatchDoubling,
    BatchSchedule,
    FixedBatch,
    LrPolicy,
    WarmRestarts,
)

if TYPE_CHECKING:
    from fastrcaps_dse.problem.space import DesignPoint

WARM_ADABATCH = "wab"  # the paper's name for AdaBatch with one cycle of warm restarts for each batch size
SEPARATOR = " · "


def label_of(point: DesignPoint) -> str:
    """The label of a design. `parse_label` reads it back."""
    policy, schedule = point.lr_policy, point.batch_schedule
    is_warm_adabatch = policy == WarmRestarts(cycle="phase") and not isinstance(schedule, FixedBatch)
    changes = [name for name, is_on in (("ws", point.weight_sharing), ("small", point.decoder == "small")) if is_on]
    parts = [
        "" if point.network == "capsnet" else point.network,
        WARM_ADABATCH if is_warm_adabatch else policy_label(policy),
        schedule_label(schedule),
        "+".join(changes),
        f"routing {point.routing_iterations}" if point.routing_iterations != 3 else "",
        f"shift {point.shift}" if point.shift != 2 else "",
        "flip" if point.flip else "",
    ]
    return SEPARATOR.join(filter(None, parts))


def parse_label(text: str) -> dict[str, Any]:
    """The values of a design that differ from the defaults, by dimension, from its label. Raises InputError."""
    parts = [part.strip() for part in text.split(SEPARATOR.strip())]
    values: dict[str, Any] = {"network": parts.pop(0)} if parts[0] == "lenet5" else {}
    if len(parts) < 2:
        raise InputError(
            f"a label has a learning-rate policy and a batch size, got {text!r}", "e.g. one-cycle · b16 · ws+small"
        )
    policy, schedule, *further = parts
    values["batch_schedule"] = parse_schedule_label(schedule)
    if policy == WARM_ADABATCH:
        values["lr_policy"] = WarmRestarts(cycle="phase")
        if isinstance(values["batch_schedule"], FixedBatch):
            raise InputError(f"{WARM_ADABATCH} changes the batch size, {schedule!r} does not", "e.g. wab · b1->16")
    else:
        values["lr_policy"] = parse_policy_label(policy)
    for part in further:
        if part in ("ws", "small", "ws+small"):
            stated: dict[str, Any] = {"weight_sharing": part != "small", "decoder": "full" if part == "ws" else "small"}
        elif match := re.fullmatch(r"(routing|shift) (\d{1,4})", part):
            stated = {"routing_iterations" if match[1] == "routing" else "shift": int(match[2])}
        elif part == "flip":
            stated = {"flip": True}
        else:
            raise InputError(
                f"unknown part {part!r} of the label {text!r}", "e.g. ws, small, ws+small, routing 1, shift 0, flip"
            )
        if stated.keys() & values.keys():
            raise InputError(f"{part!r} comes twice or late in the label {text!r}", "state each part once, e.g. ws+small")
        values |= stated
    return values


def policy_label(policy: LrPolicy) -> str:
    """The short text of a policy: fields at their default are left out, and the others lose their prefix `lr_`.

    `parse_policy_label` reads it back.
    """
    changed = {f.name: getattr(policy, f.name) for f in fields(policy) if getattr(policy, f.name) != f.default}
    texts = [f"{name.removeprefix('lr_')} {_short_number(value)}" for name, value in changed.items()]
    return f"{policy.name}({', '.join(texts)})" if texts else policy.name


def schedule_label(schedule: BatchSchedule) -> str:
    """The short text of a schedule: its batch sizes in their order. `parse_schedule_label` reads it back."""
    if isinstance(schedule, FixedBatch):
        return f"b{schedule.size}"
    head = schedule.head_epochs
    after = "" if head == type(schedule)().head_epochs else f"(head {head})"  # epochs, of a run of 30
    if isinstance(schedule, AdaBatch):
        return f"b{schedule.head_batch}->{schedule.tail_batch}{after}"
    return "->".join([f"b{schedule.head_batch}", *(str(2 ** (schedule.p + k)) for k in range(3))]) + after


def _short_number(value: object) -> str:
    """A number in the shorter of its two forms, to the six digits that a design is told apart by: 3e-3, 0.96."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent = f"{value:.5e}".split("e")
    scientific = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return min(f"{value:.6g}", scientific, key=len)


def parse_policy_label(text: str) -> LrPolicy:
    """A learning-rate policy from its label, e.g. `one-cycle(max 3e-3)`. Raises InputError."""
    match = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", text.strip())
    classes = {cls.name: cls for cls in LR_POLICIES}
    if match is None or match[1] not in classes or not match[2]:
        return parse_policy(text)
    names = {f.name.removeprefix("lr_"): f.name for f in fields(classes[match[1]])}
    parts = [part.strip().partition(" ") for part in match[2].split(",")]
    return parse_policy(f"{match[1]}({','.join(f'{names.get(name, name)}={value.strip()}' for name, _, value in parts)})")


def parse_schedule_label(text: str) -> BatchSchedule:
    """A batch-size schedule from its label, e.g. `b128`, `b1->16`. Raises InputError."""
    match = re.fullmatch(r"b(\d{1,7}(?:->\d{1,7})*)(?:\(head (\d{1,2})\))?", text.strip())
    sizes = [int(size) for size in match[1].split("->")] if match else []
    head = {"head_epochs": int(match[2])} if match and match[2] else {}
    try:
        if len(sizes) == 1 and not head:
            return FixedBatch(size=sizes[0])
        if len(sizes) == 2:
            return AdaBatch(head_batch=sizes[0], tail_batch=sizes[1], **head)
        if len(sizes) == 4:
            p = sizes[1].bit_length() - 1
            if sizes[1:] == [2**p, 2 ** (p + 1), 2 ** (p + 2)]:
                return AdaBatchDoubling(p=p, head_batch=sizes[0], **head)
    except ValueError as error:
        raise InputError(f"{text}: {error}", "see the ranges in docs/study-files.md") from None
    raise InputError(f"unknown batch-size schedule {text!r}", "e.g. b16, b1->16")
