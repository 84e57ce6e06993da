"""Reports failures of a run: losses, gradients and samples beyond the thresholds below."""
import collections
import os
import re
import typing

import numpy as np

import data
from models import losses, metrics, validation
from training import checkpoints
from training.dump import Dump

# ---- thresholds. Losses and gradient norms are compared by their medians over a window. Thresholds
# of losses are those of the cross-entropy. Origins are in brackets: [measured] in runs that were
# healthy or made to fail, the others as in args.py.

WINDOW = 100                   # batches: the losses of a single one say little [guess]
NOISE_BATCHES = 1000           # before them, noise instead of images is normal [forcecore 5]

GRADIENT_NORM_EXPLODES = 100.0  # "things are screwing up" above [ganhacks 10; measured: 67 at most
#                                in healthy runs; one at 100 to 180 from batch 5,550 on still got
#                                better until 8,000]
GRADIENT_NORM_VANISHES = 1e-3  # G learns nothing below [measured: 12 at least in healthy runs]

D_LOSS_NEAR_0 = 0.02           # above the minimum that D's targets allow; less is "near 0"
#                                [ganhacks 10; measured: 0.005 and 0.007 where D wins; just
#                                above in a healthy run on toy faces, 0.15 on real ones]
D_LOSS_ZONE = (0.05, 0.2)      # above that minimum: healthy, "near 0.1" [forcecore 5]
G_LOSS_ZONE = (1.0, 4.0)       # healthy [forcecore 5]
G_LOSS_RISING = 3.0            # if G's loss rises above it, the run has diverged [forcecore 5]
G_LOSS_FALLING = 0.69          # ln 2: D takes most generated images for real below [ganhacks 10]
TREND = 1.5                    # rising or falling: by this factor over three windows [measured]
LOSS_DIVERGED = 15.0           # a loss that stays above does not come back [forcecore 5]
SATURATING_LOSS_NEAR_0 = 0.2   # below 0: G's saturating loss hardly has a gradient then [measured]

MIN_CONTRAST = 0.1             # of that of real images; less is one uniform color [measured: 0.4 at
#                                least in healthy runs]
MIN_DIVERSITY = 0.2            # of that of real images; less is mode collapse [measured: 0.3 at
#                                least in healthy runs by batch 100]
MAX_SATURATION = 0.4           # share of values near -1 or 1 beyond that of real images, relative
#                                to the rest of these [measured: 0.1 at most in healthy runs]
MIN_DISTANCE = 0.02            # of a real image to the nearest other, in [-1, 1]; less means that
#                                they are the same [guess]


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


class Diverged(FloatingPointError):
    """A loss or a weight is no longer finite. The message tells which, when, and what to try."""


class StopOnNonFinite(Dump):
    """Stops a run in which a loss or a weight is no longer finite, and notes it in health.log.

    Must come before the callbacks that dump anything. When a run is resumed, lines of health.log
    beyond the batch that training starts from are cut, as in loss.csv.

    Raises:
        Diverged: with the batch and a remedy.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.log = self.folder / "health.log"
        if self.log.exists():
            self._cut_log()

    def _cut_log(self):
        kept = []
        for line in self.log.read_text().splitlines(keepends=True):
            batch = re.match(r"Batch (\d+):", line)
            if batch is None or int(batch[1]) <= self.start:
                kept.append(line)
        temporary = self.folder / ".health.log"
        temporary.write_text("".join(kept))
        os.replace(temporary, self.log)

    def on_train_batch_end(self, step, logs=None):
        for name, value in logs.items():
            if not np.isfinite(value):
                self._stop(self.start + step + 1, f"{name} is {float(value)}")
        super().on_train_batch_end(step, logs)

    def dump(self, batch, logs):
        for name, network in self.model.networks.items():
            for weight in network.weights:
                if not np.isfinite(weight.numpy()).all():
                    self._stop(batch, f"a weight of the {name} is not finite")

    def _stop(self, batch, reason):
        line = (f"Batch {batch}: {reason}, so the run cannot continue. Lower both learning rates "
                f"and {self._new_start(batch)} [scratch 3; forcecore 5].")
        self._note(line)
        raise Diverged(line)

    def _note(self, line):
        with open(self.log, "a") as file:
            file.write(line + "\n")

    def _new_start(self, batch):
        """Returns the advice to start again from the newest checkpoint up to `batch`."""
        checkpoints.wait()
        older = [checkpoint for checkpoint in checkpoints.checkpoints(self.folder)
                 if checkpoints.batch_of(checkpoint) <= batch]
        # `weights` does not take checkpoints of a pretraining.
        is_gan = "discriminator" in self.model.networks
        if older and is_gan:
            return ("start a new run from a checkpoint before the failure, name=another "
                    f"weights={older[-1]}")
        return "start a new run under another `name`"


class ImageStatistics(typing.NamedTuple):
    """What the watch compares of generated and of real images, in [-1, 1].

    Attributes:
        contrast: mean standard deviation of an image's pixels.
        saturation: share of the values near -1 or 1.
        spread: mean distance of two images.
        nearest: median distance of an image to the one nearest to it.
    """
    contrast: float
    saturation: float
    spread: float
    nearest: float


def image_statistics(images):
    """Returns the ImageStatistics of images [count, rows, columns, channels] in [-1, 1]."""
    if len(images) > 1:
        distances = metrics.distances(images)
    else:
        distances = np.zeros([1, 1])
    return ImageStatistics(metrics.contrast(images), metrics.saturation(images),
                           np.mean(distances), np.median(np.min(distances, 1)))


class FailureWatch(StopOnNonFinite):
    """Reports failures at each dump: a line with the number, its meaning, a remedy and its source.

    Lines are printed and written to health.log, and not repeated while the failure lasts. A run
    that is resumed gathers its windows anew. Only what is not finite stops it [kmualim 9].

    Each check is a method that returns its line, or None where it has nothing to report. Where no
    check for failures has a line, those for good news are made.

    Must come after GenerateSamples, whose `model.samples` it examines.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.reported_alarms = set()
        self.reported_good_news = set()
        self.recent = collections.deque(maxlen=3 * WINDOW)
        self.real = image_statistics(data.reals(self.args))

    def on_train_batch_end(self, step, logs=None):
        if self.start + step >= self.args.warmup_batches:  # until then D trains alone, and may win
            self.recent.append([float(logs[name]) for name in self.model.logged])
        super().on_train_batch_end(step, logs)

    def dump(self, batch, logs):
        super().dump(batch, logs)
        if len(self.recent) < WINDOW:
            return
        self.medians = self._medians()
        self.samples = image_statistics(self.model.samples)

        alarms = self.image_alarms() | self.gradient_alarms() | self.loss_alarms()
        good_news = {} if alarms else self.good_news()
        self._report(alarms, self.reported_alarms)
        self._report(good_news, self.reported_good_news)
        self.reported_alarms = set(alarms)  # one that has passed is reported if it comes again
        self.reported_good_news.update(good_news)

    def _medians(self):
        """Returns {name in the logs: its median in each window of batches, the newest last}."""
        rows = np.array(self.recent)
        of_whole_windows = rows[len(rows) % WINDOW:]
        windows = of_whole_windows.reshape(-1, WINDOW, rows.shape[1])
        return dict(zip(self.model.logged, np.median(windows, 1).T))

    def _report(self, lines, reported):
        for name, line in lines.items():
            if name not in reported:
                print(f"\nBatch {self.batch}: {line}")
                self._note(f"Batch {self.batch}: {line}")

    # ---- which checks are made

    def image_alarms(self):
        """Returns {check: its line} of the failures that show in the samples."""
        alarms = lines_of(self.identical_real_images, self.uniform_color)
        if not alarms:  # either of them makes samples similar, too
            alarms |= lines_of(self.mode_collapse)
        return alarms | lines_of(self.saturated_samples)

    def gradient_alarms(self):
        """Returns {check: its line} of the failures that show in the gradients' norms."""
        return lines_of(self.exploding_d_gradients, self.exploding_g_gradients,
                        self.vanishing_g_gradients)

    def loss_alarms(self):
        """Returns {check: its line} of the failures that show in the losses."""
        if self.args.loss != "cross_entropy":  # the thresholds are those of its losses
            return {}
        alarms = lines_of(self.diverged_losses, self.d_too_strong)
        if self.args.g_objective == "saturating":
            return alarms | lines_of(self.saturated_g_loss)
        return alarms | lines_of(self.g_loss_rising, self.g_loss_falling)

    def good_news(self):
        """Returns {check: its line} of a run without failures."""
        news = lines_of(self.no_alarm_yet)
        if self.args.loss == "cross_entropy" and self.args.g_objective == "non_saturating":
            news |= lines_of(self.d_catching_up, self.healthy_g_loss)
        return news

    # ---- images

    def identical_real_images(self):
        if self.args.image_shape[0] == 1:  # rows of bits, of which there are few: they do repeat
            return None
        if len(self.model.samples) == 1 or self.real.nearest >= MIN_DISTANCE:
            return None
        return (f"The real images are nearly identical: the distance of one to the nearest other "
                f"is {self.real.nearest:.4f}, below {MIN_DISTANCE:g}. There is little to learn "
                f"from {self.args.data}. Add more images [forcecore 5].")

    def uniform_color(self):
        if self.samples.contrast >= MIN_CONTRAST * self.real.contrast:
            return None
        color = "black" if np.mean(self.model.samples) < -0.9 else "one uniform color"
        ratio = self.samples.contrast / self.real.contrast
        return (f"The samples are {color}: they have {ratio:.2f} of the contrast of real images, "
                f"below {MIN_CONTRAST:g}. G fools D with images that show nothing. Lower both "
                f"learning rates and {self._new_start_before_trend()}, or start a new run with a "
                "deeper D (discriminator_filters) [forcecore 5; cartoon 4].")

    def mode_collapse(self):
        ratios = []
        if self.real.spread:
            ratios.append(self.samples.spread / self.real.spread)
        if self.real.nearest:  # 0 where real images have duplicates
            ratios.append(self.samples.nearest / self.real.nearest)
        diversity = min(ratios, default=1.0)
        if len(self.model.samples) == 1 or diversity >= MIN_DIVERSITY:
            return None
        remedies = [f"Lower both learning rates and {self._new_start_before_trend()}"]
        if self._supports("feature_matching"):
            remedies.append("set feature_matching=100.0 in a new run")
        penalized = self.args.gradient_penalty or self.args.r1_weight >= validation.LARGE_R1
        if self._supports("minibatch_kernels") and not penalized:
            remedies.append("set minibatch_kernels=100 in a new run")
        return (f"The samples are too similar, {diversity:.2f} times as diverse as real images, "
                f"below {MIN_DIVERSITY:g}: mode collapse. {', or '.join(remedies)} [scratch 3].")

    def saturated_samples(self):
        excess = self.samples.saturation - self.real.saturation
        if excess <= MAX_SATURATION * (1 - self.real.saturation):
            return None
        return (f"The samples are saturated: {self.samples.saturation:.0%} of their values are "
                f"near -1 or 1, where tanh hardly has a gradient, against "
                f"{self.real.saturation:.0%} in real images. Lower g_learning_rate and "
                f"{self._new_start_before_trend()} [forcecore 5].")

    # ---- gradients

    def exploding_d_gradients(self):
        return self._exploding_gradients("D", "d_gradient_norm", "d_learning_rate")

    def exploding_g_gradients(self):
        return self._exploding_gradients("G", "g_gradient_norm", "g_learning_rate")

    def _exploding_gradients(self, network, name, remedy):
        norm = self.medians[name][-1]
        if norm <= GRADIENT_NORM_EXPLODES:
            return None
        return (f"{network}'s gradient norm is {norm:.0f}, above {GRADIENT_NORM_EXPLODES:.0f}. "
                f"Lower {remedy} and {self._new_start_before_trend()} [ganhacks 10].")

    def vanishing_g_gradients(self):
        args = self.args
        norm = self.medians["g_gradient_norm"][-1]
        if norm >= GRADIENT_NORM_VANISHES:
            return None
        remedies = []
        if args.g_objective == "saturating":
            remedies.append("g_objective=non_saturating [ganhacks 2]")
        if args.batch_norm in ("none", "discriminator") and self._supports("batch_norm"):
            # A D with one of these wants no batch norm.
            bounded = (args.gradient_penalty or args.spectral_norm
                       or args.r1_weight >= validation.LARGE_R1)
            batch_norm = "generator" if bounded else "both"
            remedies.append(f"batch_norm={batch_norm} [kmualim 10]")
        remedies.append("a lower d_learning_rate, or instance_noise=0.1 [ganhacks 13]")
        return (f"G's gradient norm is {norm:.1g}, below {GRADIENT_NORM_VANISHES:g}: G learns "
                f"nothing. Start a new run with {', or '.join(remedies)}.")

    # ---- losses

    def diverged_losses(self):
        diverged = []
        for name in ("d_loss_real", "d_loss_fake", "g_loss"):
            if self.medians[name][-1] > LOSS_DIVERGED:
                diverged.append(f"{name} is {self.medians[name][-1]:.1f}")
        if not diverged:
            return None
        return (f"{' and '.join(diverged)}, above {LOSS_DIVERGED:.0f}: the run cannot recover. "
                f"Lower both learning rates and {self._new_start_before_trend()} [forcecore 5].")

    def d_too_strong(self):
        above = [self.medians[name][-1] - entropy
                 for name, entropy in target_entropies(self.args).items()]
        above_minimum = np.mean(above)
        if above_minimum >= D_LOSS_NEAR_0:
            return None
        return (f"D's loss is near 0, {above_minimum:.3f} above the minimum its labels allow: D is "
                "too strong and G learns little. Lower d_learning_rate, soften or flip D's labels "
                "(real_labels, fake_labels, label_flip), or add instance_noise, and "
                f"{self._new_start_before_trend()} [ganhacks 10; cartoon 2].")

    def saturated_g_loss(self):
        g_loss = self.medians["g_loss"][-1]
        if g_loss <= -SATURATING_LOSS_NEAR_0:
            return None
        return (f"G's loss is near 0, {g_loss:.2f}: D recognizes G's images with certainty, and "
                "there the saturating objective hardly has a gradient. Set "
                "g_objective=non_saturating and "
                f"{self._new_start_before_trend()} [ganhacks 2].")

    def g_loss_rising(self):
        g_loss = self.medians["g_loss"]
        rises_in_each_window = len(g_loss) == 3 and (np.diff(g_loss) > 0).all()
        if not rises_in_each_window or g_loss[-1] <= max(G_LOSS_RISING, TREND * g_loss[0]):
            return None
        return (f"G's loss is rising, {self._trend(g_loss)}. Such runs diverged. Raise "
                "g_learning_rate, though not above D's, or lower d_learning_rate, and "
                f"{self._new_start_before_trend()} [forcecore 5].")

    def g_loss_falling(self):
        g_loss = self.medians["g_loss"]
        falls_in_each_window = len(g_loss) == 3 and (np.diff(g_loss) < 0).all()
        if not falls_in_each_window or g_loss[-1] >= min(G_LOSS_FALLING, g_loss[0] / TREND):
            return None
        return (f"G's loss is falling steadily, {self._trend(g_loss)}: G fools D with images that "
                "need not be good. Start a new run with a deeper D (discriminator_filters), or "
                "with a higher d_learning_rate [ganhacks 10; forcecore 5].")

    def _trend(self, medians):
        return f"{medians[-1]:.2f}, from {medians[0]:.2f} {2 * WINDOW} batches ago"

    # ---- good news

    def no_alarm_yet(self):
        if self.batch >= NOISE_BATCHES:
            return None
        return f"No alarm. Noise before batch {NOISE_BATCHES} is normal [forcecore 5]."

    def d_catching_up(self):
        low, _ = G_LOSS_ZONE
        if max(self.medians[name][-1] for name in ("d_loss_real", "d_loss_fake", "g_loss")) >= low:
            return None
        return f"All losses are below {low:g}: D is catching up [forcecore 5]."

    def healthy_g_loss(self):
        low, high = G_LOSS_ZONE
        g_loss = self.medians["g_loss"][-1]
        if not low <= g_loss <= high:
            return None
        return (f"G's loss is {g_loss:.2f}, in its healthy zone of {low:g} to {high:g} "
                "[forcecore 5].")

    # ---- remedies

    def _new_start_before_trend(self):
        """Returns the advice to start again from before the windows in which a failure showed."""
        return self._new_start(self.batch - 3 * WINDOW)

    def _supports(self, constant):
        """Returns whether the networks of the run support other values of a constant."""
        return constant not in validation.UNSUPPORTED[self.args.network]


def lines_of(*checks):
    """Makes checks, and returns {name of the check: its line} of those that have one."""
    lines = {}
    for check in checks:
        line = check()
        if line is not None:
            lines[check.__name__] = line
    return lines
