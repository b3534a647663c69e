"""Put together a way to answer queries: six steps, each with its numbers, validated when made."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from embed.errors import InputError
from embed.settings import Settings
from embed.suggest import suggest
from embed.validation import explain, list_errors

from .fusion import Fusion, VotesAlone
from .head_fusion import InliersMix
from .ordering import FrequentLast, KeepOrder, Order
from .pair_features import POOL_IMAGES
from .penalties import NoPenalty, Penalty, QueryGate
from .rejection import Rejection, RejectNone
from .rescoring import NoRescoring, Rescoring
from .votes import SumVote, Vote


class Policy(Settings):
    """A way to answer queries.

    Each step is a function with numbers of its own; `name` tells the functions of a step apart
    where a policy is written to a file or read from one.

    >>> policy = Policy(source="mine", vote={"name": "power", "power": 9})
    >>> policy.vote
    PowerVote(name='power', power=9.0, most=5)
    """

    source: str  # where it was published
    penalty: Penalty = NoPenalty()  # evidence -> a score a neighbour
    rescoring: Rescoring = NoRescoring()  # -> a score a neighbour
    vote: Vote = SumVote()  # -> a score a label
    fusion: Fusion = VotesAlone()  # -> one label and its confidence
    rejection: Rejection = RejectNone()  # -> whether that is an answer
    order: Order = KeepOrder()  # -> the confidences of all queries together

    @property
    def transductive(self) -> bool:
        """Whether the confidence of one query depends on the others that are asked with it."""
        return isinstance(self.fusion, InliersMix) or isinstance(self.order, FrequentLast)

    @property
    def pool_images(self) -> int:
        """How many images of the pool a query's likeness to it is averaged over.

        Where no step asks for it, as many as the calibrated fusion takes.
        """
        asking = self.penalty if isinstance(self.penalty, QueryGate) else self.fusion
        return int(getattr(asking, "nearest", POOL_IMAGES))


def adjust(policy: Policy, steps: Mapping[str, Mapping[str, Any]]) -> Policy:
    """Return the policy with some numbers or whole steps changed.

    Args:
        policy: that is changed.
        steps: new numbers by name of the step; with another `name`, the step is replaced and its
            other numbers are the defaults of the new one.

    Raises:
        InputError: no such step, name or number, or a number out of range.

    >>> changed = adjust(Policy(source="mine"), {"vote": {"most": 3}, "fusion": {"name": "head"}})
    >>> changed.vote.most, changed.fusion.name
    (3, 'head')
    """
    values = policy.model_dump()
    for step, changes in steps.items():
        if step == "source" or step not in values:
            raise InputError(f"unknown step '{step}'; {suggest(step, list(values)[1:])}")
        replaced = changes.get("name", values[step]["name"]) != values[step]["name"]
        values[step] = dict(changes) if replaced else {**values[step], **changes}
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(map(_explain, list_errors(error)))) from error


def _explain(error: Any) -> str:
    """Put one error of pydantic into words; for an unknown number name the closest one."""
    step, *place = error["loc"]  # place: the step's name and the number, or nothing
    if error["type"] != "extra_forbidden":
        return f"{'.'.join([step, *place])} = {error['input']!r}: {explain(error)}"
    name, number = place
    known = type(getattr(Policy.model_validate({"source": "", step: {"name": name}}), step))
    hint = suggest(number, known.model_fields)
    return f"{step} '{name}' has no '{number}'; {hint}"
