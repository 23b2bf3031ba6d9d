"""The report's curves as data: for each picture the logged key, its axis, and what it means in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openmimo.report.plot import compact, percent


@dataclass(frozen=True)
class Panel:
    """One picture. key: as logged; unit: a value as text; floor, ceiling: ends of the axis, None for the data's own;
    smooth: noisy values, drawn faint under their running mean."""

    key: str
    title: str
    words: str
    unit: Callable[[float], str] = compact
    floor: float | None = None
    ceiling: float | None = None
    smooth: bool = True


def _count(key: str, title: str, words: str, smooth: bool = True) -> Panel:
    return Panel(key, title, words, floor=0, smooth=smooth)


def _share(key: str, title: str, words: str, ceiling: float | None = 1.02) -> Panel:
    return Panel(key, title, words, percent, 0, ceiling)


_SPEED = _count("tokens_per_s", "Speed", "Tokens trained on in a second.")
_GRADIENT = _count("grad_norm", "Gradient norm", "Before clipping. Spikes are batches unlike those before.")

LEARNING_RATE = _count("lr", "Learning rate", "As the recipe sets it.", smooth=False)

SCHEDULE = (  # pre-training: what the recipe sets, then what it leads to
    _count("batch", "Batch", "Sequences a step. Few do early on, when all text teaches the same things.", smooth=False),
    _count("length", "Sequence length", "Tokens a sequence.", smooth=False),
    _count("mtp_weight", "MTP weight", "How much the MTP loss counts beside the main one.", smooth=False),
)
MTP_ACCEPT = (  # by position of the draft
    _share(
        "mtp_accept",
        "MTP guesses accepted",
        "How often the MTP layer's first guess is the text's next token but one (teacher-forced).",
    ),
    *(
        _share(
            f"mtp_accept_{position}",
            f"MTP guesses accepted, position {position}",
            f"How often the first {position} guesses are all the text's own (teacher-forced).",
        )
        for position in (2, 3)
    ),
)
PRETRAIN = (
    _GRADIENT,
    _SPEED,
    *MTP_ACCEPT,
)

SFT = (LEARNING_RATE, _SPEED, *MTP_ACCEPT)

RL = (
    _count("reward", "Reward", "Mean reward of a response, by rules only: no judge model."),
    _share("pass_rate", "Pass rate", "Share of right responses to training problems, before any group is dropped."),
    _count("response_length", "Response length", "Mean tokens of a response. No rule rewards length itself."),
    _share(
        "kept",
        "Groups kept",
        "Share of groups whose answers earned different rewards. Only these teach anything; the others are dropped and "
        "the batch is refilled (dynamic sampling).",
    ),
    _count(
        "pool",
        "Easy pool",
        "Problems now solved every time. They are set aside and drawn only now and then; one that fails again returns.",
        smooth=False,
    ),
    _count("entropy", "Entropy", "How undecided the model is at each token, in nats. Near 0 it has stopped exploring."),
)
RL_DETAILS = (
    _count("groups", "Groups rolled out", "Groups sampled to fill one batch."),
    _share("truncated", "Cut off", "Share of responses stopped by the length limit; they count as wrong.", None),
    Panel(
        "kl",
        "Sampler against trainer, KL",
        "Estimated KL divergence of the two at the start of a step, in nats a token. It is watched, not punished.",
    ),
    _share("clip_fraction", "Clipped tokens", "Share of tokens whose probability left the clip range.", None),
    _count(
        "logprob_gap_mean",
        "Sampler against trainer, mean",
        "Difference of the log-probabilities that the two compute for the same tokens; only rounding may part them.",
    ),
    _count("logprob_gap_max", "Sampler against trainer, largest", "The same difference at the worst token of a step."),
    _GRADIENT,
    LEARNING_RATE,
    _count("rollout_s", "Seconds sampling", "A step's time spent writing responses."),
    _count("reward_s", "Seconds judging", "A step's time spent checking them."),
    _count("train_s", "Seconds training", "A step's time spent on updates."),
)
