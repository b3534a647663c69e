"""Settings of decisions and of ensembles, validated when made. Imports nothing heavy."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from embed.errors import InputError
from embed.settings import MAX_WEIGHT, Settings
from embed.suggest import suggest

from .ensemble_rules import RULES, WITH_WEIGHTS
from .pair_features import DEFAULT_FEATURES, PAIR_FEATURES
from .policies import POLICIES
from .policy import Policy, adjust

MEMBER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # names a folder of the run


class DecideSettings(Settings):
    """How evidence becomes an answer and a confidence, and what is rejected."""

    policy: str = "calibrated"  # a name of classify_head.policies
    # Other numbers, or whole steps, of the policy.
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    features: tuple[str, ...] = DEFAULT_FEATURES  # calibrated: of classify_head.pair_features
    distractor_share: float = Field(0.5, ge=0, lt=1)  # of the photos that will be asked about
    calibration_queries: int = Field(400, ge=1)  # photos of known landmarks that are asked
    max_overlap: float = Field(0.15, gt=0, le=1)  # inliers to features; more is the same occasion
    min_precision: float | None = Field(None, gt=0, lt=1)  # of the answers; sets the threshold
    least_probability: float = Field(0.5, ge=0, le=1)  # calibrated: the threshold without it
    reject_share: float = Field(0.95, ge=0, le=1)  # other policies: of either distractors' kind
    reject_below: float = Field(0.15, ge=0, le=1)  # other policies: the threshold without any
    rejected: Literal["sink", "empty"] = "sink"  # in submission.csv: keep the guess, or no answer
    # Landmarks named in one photo, each verified in a part of its own; in submission.csv the first.
    most_answers: int = Field(1, ge=1, le=20)
    # Fit a head that tells landmarks from the non-landmark pool: for the rejection "landmark-head".
    landmark_head: bool = False

    @field_validator("policy")
    @classmethod
    def _know_policy(cls, policy: str) -> str:
        if policy not in POLICIES:
            raise InputError(f"unknown policy; {suggest(policy, POLICIES)}")
        return policy

    @field_validator("features")
    @classmethod
    def _know_features(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in features if name not in PAIR_FEATURES]
        if unknown:
            raise InputError(f"unknown {unknown[0]}; there are {', '.join(PAIR_FEATURES)}")
        return features

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.rejection == "landmark-head" and not self.landmark_head:
            raise InputError(
                'the rejection "landmark-head" asks a head that is not fitted; set '
                "decide.landmark_head = true"
            )
        if self.rejection != "none" and self.min_precision is not None:
            raise InputError(
                f'policy "{self.policy}" has a rejection of its own, "{self.rejection}", and '
                f"min_precision {self.min_precision:g} would change nothing; leave it away, or set "
                'steps.rejection.name = "none"'
            )
        if self.most_answers > 1 and self.make_policy().fusion.name != "calibrated":
            raise InputError(
                f'most_answers {self.most_answers}: policy "{self.policy}" does not say how likely '
                'a further answer is; set policy = "calibrated", or most_answers = 1'
            )
        return self

    @property
    def rejection(self) -> str:
        """Name of the policy's own rejection; "none" where the run's threshold rejects."""
        return self.make_policy().rejection.name

    def make_policy(self) -> Policy:
        """Return the policy with its steps changed as the recipe says."""
        return adjust(POLICIES[self.policy], self.steps)


class MemberSettings(Settings):
    """What one model of an ensemble has otherwise than the recipe."""

    train: dict[str, Any] = Field(default_factory=dict)  # keys of [train]
    embed: dict[str, Any] = Field(default_factory=dict)  # keys of [embed]


class EnsembleSettings(Settings):
    """Several models of one run, whose heads answer together: see classify_head.ensemble."""

    rule: str = "mean"  # a name of classify_head.ensemble_rules
    weights: tuple[
        Annotated[float, Field(ge=0, le=MAX_WEIGHT)], ...
    ] = ()  # one a member, for the rules that take some
    members: dict[str, MemberSettings] = Field(default_factory=dict)  # by name; none: one model

    @field_validator("rule")
    @classmethod
    def _know_rule(cls, rule: str) -> str:
        if rule not in RULES:
            raise InputError(f"unknown rule; {suggest(rule, RULES)}")
        return rule

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for name in self.members:
            if not MEMBER_NAME.fullmatch(name):
                raise InputError(f"member {name!r} names a folder: use letters, digits, - and _")
        count = len(self.members)
        if self.rule == "corrected" and count not in (0, 2):
            raise InputError(
                f"the rule corrected has {count} members, expected two: of the large set of "
                "classes, then of the small"
            )
        if self.weights and self.rule not in WITH_WEIGHTS:
            raise InputError(
                f"the rule {self.rule} takes no weights; {' and '.join(WITH_WEIGHTS)} do"
            )
        if self.weights and not any(self.weights):
            raise InputError(f"weights {list(self.weights)} leave out every member; raise one")
        if count and len(self.weights) != count and (self.weights or self.rule == "weighted"):
            raise InputError(f"{len(self.weights)} weights for {count} members; give each one")
        return self
