"""The failures that callbacks.Watch looks for after each epoch: a table of checks.

To add a check, write a function that returns a number, and a row of CHECKS that says which numbers
are failures, what they mean, and what helps. As a run keeps its constants, a remedy needs a new
run, under another `name`; the constant `weights` starts it from a checkpoint.
"""
import math
import typing

import numpy as np

from models import losses
from training.scores import metrics

FIRST_BATCH = 100  # before it, samples of healthy runs are still too similar [measured]
SHORT_EPOCH = 10   # batches: means over fewer are not judged [guess]
TREND_STEP = 100   # batches between the three epochs of a trend, at least [guess]
TREND = 1.5        # factor by which G's loss changes in a trend; 1.2 in healthy runs [measured]

D_LOSS_ZONE = (0.05, 0.2)  # healthy, above the minimum for D's targets: "near 0.1" [forcecore 5]
G_LOSS_ZONE = (1.0, 4.0)   # healthy [forcecore 5]


def target_entropies(args):
    """Returns {name: minimum} of both parts of D's loss, in nats: its targets allow no less."""
    real, fake, flip = args.real_labels, args.fake_labels, args.label_flip
    return {"d_loss_real": losses.label_entropy(real, fake, flip),
            "d_loss_fake": losses.label_entropy(fake, real, flip)}


def healthy_zones(args):
    """Returns {name: (low, high)}, in which the losses of healthy runs lie; {} if not known."""
    if args.loss != "cross_entropy":
        return {}
    low, high = D_LOSS_ZONE
    zones = {}
    for name, entropy in target_entropies(args).items():
        zones[name] = (entropy + low, entropy + high)
    if args.g_objective == "non_saturating":
        zones["g_loss"] = G_LOSS_ZONE
    return zones


# ---- numbers: functions of a State. Where one does not apply it returns NaN, which is neither
# above nor below a limit.

class State(typing.NamedTuple):
    """The state of a run after an epoch, which the checks read."""
    args: type           # the constants
    rows: list           # of each epoch, the newest last: {"batch": batches trained, name: mean}
    samples: np.ndarray  # the sample grid [count, rows, columns, channels] in [-1, 1]
    reals: np.ndarray    # real images, likewise


def relative(value, real_value):
    return value / real_value if real_value else math.nan


def contrast(state):
    return relative(metrics.contrast(state.samples), metrics.contrast(state.reals))


def unsaturated_share(state):
    samples, reals = metrics.saturation(state.samples), metrics.saturation(state.reals)
    return relative(1 - samples, 1 - reals)


def mean_nearest_distance(images):
    """Returns the mean distance of an image to its nearest neighbor."""
    if len(images) == 1:
        return math.nan
    return np.mean(np.min(metrics.distances(images), axis=1))


def diversity(state):
    return relative(mean_nearest_distance(state.samples), mean_nearest_distance(state.reals))


def real_diversity(state):
    is_image = state.args.image_shape[0] > 1  # there are few rows of bits: they do repeat
    return mean_nearest_distance(state.reals) if is_image else math.nan


def d_gradient_norm(state):
    return state.rows[-1]["d_gradient_norm"]


def g_gradient_norm(state):
    return state.rows[-1]["g_gradient_norm"]


def largest_loss(state):
    return max(state.rows[-1][name] for name in ("d_loss_real", "d_loss_fake", "g_loss"))


def d_loss_above_minimum(state):
    row, entropies = state.rows[-1], target_entropies(state.args)
    return np.mean([row[name] - entropy for name, entropy in entropies.items()])


def saturating_g_loss(state):
    return state.rows[-1]["g_loss"] if state.args.g_objective == "saturating" else math.nan


def g_loss_trend(state):
    """Returns G's losses of three epochs, at least TREND_STEP batches apart, the oldest first."""
    chosen = [state.rows[-1]]
    for row in reversed(state.rows):
        if row["batch"] <= chosen[-1]["batch"] - TREND_STEP:
            chosen.append(row)
    if len(chosen) < 3 or state.args.g_objective == "saturating":
        return math.nan, math.nan, math.nan
    newest, middle, oldest = chosen[:3]
    return oldest["g_loss"], middle["g_loss"], newest["g_loss"]


def rising_g_loss(state):
    oldest, middle, newest = g_loss_trend(state)
    is_rising = oldest < middle < newest and newest > TREND * oldest
    return newest if is_rising else math.nan


def falling_g_loss(state):
    oldest, middle, newest = g_loss_trend(state)
    is_falling = oldest > middle > newest and newest < oldest / TREND
    return newest if is_falling else math.nan


# ---- the table

class Check(typing.NamedTuple):
    """A row of the table."""
    number: typing.Callable  # takes a State, returns a float
    side: str                # failures lie "above" or "below" the limit
    limit: float
    text: str                # with {number} and {limit}: meaning, remedy and source of a failure

    def report(self, state):
        """Returns the text if the check fails, else None."""
        number = self.number(state)
        fails = number > self.limit if self.side == "above" else number < self.limit
        return self.text.format(number=number, limit=self.limit) if fails else None


# Origins of the limits are in comments. [measured]: means over 50 batches, in healthy runs of 200
# to 600 batches and in runs made to fail, tests/bench/bench_health.py.
CHECKS = [
    # 0.33 at least in healthy runs, 0.00 in one that failed [measured]
    Check(contrast, "below", 0.1,
          "The samples have {number:.2f} of the real images' contrast, below {limit}: one color, "
          "or black. Lower both learning rates, or deepen D [forcecore 5; cartoon 4]."),
    # 0.31 at least in healthy runs, 0.05 in one that failed [measured]
    Check(diversity, "below", 0.2,
          "The samples have {number:.2f} of the real images' diversity, below {limit}: mode "
          "collapse. Lower both learning rates, or set feature_matching=100.0 [scratch 3]."),
    # 1.0 at least in healthy runs, 0.2 with learning rates of 0.1 [measured]
    Check(unsaturated_share, "below", 0.6,
          "The samples have {number:.2f} of the real images' unsaturated values, below {limit}: "
          "near -1 and 1 tanh hardly has a gradient. Lower g_learning_rate [forcecore 5]."),
    # [guess]
    Check(real_diversity, "below", 0.02,
          "The real images' distance to their nearest neighbors is {number:.3f}, below {limit}: "
          "there is little to learn. Add more images [forcecore]."),
    # both: [ganhacks 10]; 30 at most in healthy runs, 590 in one that failed [measured]
    Check(d_gradient_norm, "above", 100.0,
          "D's gradient norm is {number:.0f}, above {limit:.0f}: things are going wrong. Lower "
          "d_learning_rate [ganhacks 10]."),
    Check(g_gradient_norm, "above", 100.0,
          "G's gradient norm is {number:.0f}, above {limit:.0f}: things are going wrong. Lower "
          "g_learning_rate [ganhacks 10]."),
    # 3 at least in healthy runs, 0.0008 where D is certain and the objective saturates [measured]
    Check(g_gradient_norm, "below", 1e-3,
          "G's gradient norm is {number:.1g}, below {limit}: G learns nothing. Lower "
          "d_learning_rate, or set instance_noise=0.1 [ganhacks 13]."),
]

# The limits of losses hold for loss=cross_entropy only.
CROSS_ENTROPY_CHECKS = [
    # [forcecore 5]
    Check(largest_loss, "above", 15.0,
          "A loss is {number:.1f}, above {limit:.0f}: the run cannot recover. Lower both learning "
          "rates [forcecore 5]."),
    # 0.02 at least in healthy runs, 0.010 at most where D wins [measured]
    Check(d_loss_above_minimum, "below", 0.015,
          "D's loss is {number:.3f} above the minimum for its targets, below {limit}: D is too "
          "strong. Lower d_learning_rate, or soften or flip its labels [ganhacks 10; cartoon 2]."),
    # -0.03 at most in a healthy run, -0.0015 where D wins [measured]
    Check(saturating_g_loss, "above", -0.01,
          "G's loss is {number:.3f}, near 0: D is certain, and the saturating objective hardly has "
          "a gradient. Set g_objective=non_saturating [ganhacks 2]."),
    # It rises to 3.9 in healthy runs, after the pretraining [measured]
    Check(rising_g_loss, "above", G_LOSS_ZONE[1],
          "G's loss is rising steadily, to {number:.2f}: such runs diverge. Raise g_learning_rate, "
          "though not above D's, or lower d_learning_rate [forcecore 5]."),
    # ln 2: below, D takes most generated images for real [ganhacks 10]
    Check(falling_g_loss, "below", 0.69,
          "G's loss is falling steadily, to {number:.2f}: G fools D with images that need not be "
          "good. Deepen D, or raise d_learning_rate [ganhacks 10; forcecore 5]."),
]


def checks(args):
    """Returns the checks that apply to a run."""
    return CHECKS + CROSS_ENTROPY_CHECKS if args.loss == "cross_entropy" else CHECKS
