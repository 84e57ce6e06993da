"""Toy scenes: an endless dataset of landscapes, each as a photo and as a drawing, painted by code.

Real photos have no true drawings to compare with, so nobody can measure how well a network turns
one into the other. Here every scene is described once, and shown twice: *as a camera sees it*, with
soft light, texture, haze, blur and grain, and *as it is drawn*, in flat colors with dark outlines.
The color of a region in the drawing is a fixed function of its color in the photo.

A scene is a map of regions, such as a roof or a cloud, painted from the back to the front. It is
described on a square of 256 units: x grows to the right and y downwards, whatever the size of the
image. The map is painted at four times the size of the image, which is then reduced.

From top to bottom: what other modules use, randomness, colors, shapes, regions, sky, land, trees,
buildings, living things, kinds of scenes, textures, camera, drawing.
"""
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

UNITS = 256                     # width and height of the square on which scenes are described
OVERSAMPLING = 4                # pixels of the map per pixel of the image
SIZES = range(32, 512 + 1, 16)  # rows and columns of images

WHITE = (250, 250, 248)
WOOD = (126, 90, 64)
BARK = (104, 76, 58)
BIRCH = (222, 218, 210)
STONE = (150, 146, 150)
SNOW = (238, 244, 250)
SAND = (232, 208, 156)
METAL = (82, 88, 100)
LAMPLIGHT = (255, 220, 120)
LEAVES = {
    "green": ((74, 142, 64), (104, 166, 74), (52, 118, 74), (134, 172, 66)),
    "autumn": ((214, 126, 48), (196, 76, 48), (228, 176, 62), (150, 142, 62)),
    "blossom": ((240, 166, 190), (250, 196, 208), (104, 166, 74), (244, 214, 220)),
    "snowy": ((206, 220, 228), (182, 202, 208), (156, 184, 184), (222, 232, 238)),
}
NEEDLES = ((38, 98, 74), (52, 112, 70), (34, 84, 84))
GRASS = ((116, 168, 72), (142, 180, 78), (94, 156, 84), (170, 176, 84))
WALLS = ((244, 226, 190), (236, 190, 158), (238, 238, 228), (196, 214, 222), (226, 156, 130),
         (250, 218, 128), (184, 208, 172))
ROOFS = ((190, 74, 54), (150, 66, 66), (84, 98, 130), (120, 86, 70), (70, 120, 120))
TOWERS = ((176, 186, 200), (210, 192, 172), (140, 158, 182), (200, 160, 146), (226, 220, 208),
          (120, 140, 150))
BRIGHT = ((222, 62, 62), (248, 196, 60), (54, 118, 200), (240, 128, 56), (70, 166, 120),
          (232, 112, 156), (250, 250, 248))
FLOWERS = ((246, 96, 110), (252, 220, 80), (250, 250, 250), (190, 120, 220), (252, 160, 80))
SKINS = ((250, 214, 184), (232, 186, 148), (170, 120, 88))
HAIR = ((62, 46, 44), (134, 82, 50), (230, 184, 96), (180, 74, 48))
FUR = ((60, 56, 62), (230, 150, 76), (150, 148, 156), (246, 240, 232))

# {time: the sky above, the sky at the horizon, the haze, the water and the color of the light}.
TIMES = {
    "day": ((70, 146, 224), (190, 224, 244), (190, 214, 234), (58, 136, 184), (255, 252, 242)),
    "sunrise": ((182, 156, 214), (255, 208, 204), (238, 190, 206), (124, 124, 190),
                (255, 226, 220)),
    "sunset": ((224, 150, 146), (255, 216, 142), (246, 188, 140), (112, 110, 168),
               (255, 218, 184)),
    "dusk": ((36, 46, 100), (140, 116, 164), (96, 92, 146), (44, 64, 128), (152, 152, 204)),
    "winter": ((140, 182, 222), (226, 236, 244), (218, 228, 240), (110, 156, 192),
               (242, 248, 255)),
}
TIME_SHARES = ("day", "day", "day", "sunrise", "sunset", "dusk", "winter")  # one is chosen

# {name: how much brighter a region is at its lit side and at its top, and darker at its edges}.
SHADES = {
    "flat": (0, 0, 0),
    "ball": (0.20, 0.24, 0.10),
    "wall": (0.10, 0.06, 0),
    "slope": (0.14, 0.08, 0),
    "column": (0.30, 0.02, 0.06),
}
# {name: how much brighter or darker it makes a region}. `_textures` paints them.
MATERIALS = {
    "plain": 0.03, "grain": 0.09, "grass": 0.26, "leaves": 0.36, "bricks": 0.20, "planks": 0.22,
    "tiles": 0.26, "water": 0.17, "cloud": 0.08, "rock": 0.24, "bark": 0.30, "glass": 0.24,
}
TEXTURE_UNITS = 384  # of which each scene sees a square of 256

LINE = (38, 32, 48)     # the color of outlines
LINE_WIDTH = 4          # in units
LEVELS = 7              # of brightness in drawings
BRIGHTENING = 1.06      # of drawings, compared with photos
SATURATION = 1.5        # of drawings, compared with photos
MUTED = 0.16            # the share of gray in the colors of photos
HAZE = 0.75             # the share of haze in the color of what is farthest away
SHADOW = 0.32           # how much darker it is in a shadow


# ---- what other modules use

def sample(count, seed=0, start=0, size=64):
    """Paints scenes number `start` to `start + count - 1` of the endless sequence of a seed.

    A scene depends on the seed and its number alone, so parts of the sequence may be made in any
    order and by any process.

    Args:
        count: int, the number of scenes.
        seed: int, at least 0.
        start: int, the number of the first scene.
        size: int, rows and columns of the images: a multiple of 16 from 32 to 512. A scene is the
            same at any size, apart from the grain of the photo.

    Returns:
        photos and drawings of the same scenes, both uint8 [count, size, size, 3].

    Raises:
        ValueError: if an argument is negative or no whole number, or there is no such size.
    """
    for name, number in {"count": count, "seed": seed, "start": start}.items():
        if number != int(number) or number < 0:
            raise ValueError(
                f"`{name}` must be a whole number of at least 0. Received: {name}={number}")
    if size not in SIZES:
        raise ValueError(
            f"`size` must be a multiple of {SIZES.step} from {SIZES[0]} to {SIZES[-1]}. "
            f"Received: size={size}")
    count, start, size = int(count), int(start), int(size)
    photos = np.empty((count, size, size, 3), "uint8")
    drawings = np.empty((count, size, size, 3), "uint8")
    for index in range(count):
        scene = _scene(int(seed), start + index, size)
        photos[index] = _photograph(scene, size)
        drawings[index] = _draw(scene, size)
    return photos, drawings


# ---- randomness

class Dice:
    """The random numbers of one scene."""

    def __init__(self, seed, number):
        # Each scene has a stream of 2^64 numbers of its own.
        generator = np.random.Philox(key=seed, counter=number << 64)
        self.random = np.random.Generator(generator).random  # in [0, 1)

    def between(self, low, high):
        """Returns a number in [low, high)."""
        return low + (high - low) * self.random()

    def whole(self, low, high):
        """Returns an integer from `low` to `high`, both included."""
        return low + int((high - low + 1) * self.random())

    def chance(self, share):
        """Returns True with a probability of `share`."""
        return self.random() < share

    def choice(self, options):
        """Returns a random element of a sequence."""
        return options[int(len(options) * self.random())]

    def color(self, options, spread=20):
        """Returns one of a sequence of colors, each channel changed by up to `spread` / 2."""
        return np.clip(self.choice(options) + spread * (self.random(3) - 0.5), 0, 255)


# ---- colors: float64 [3] in [0, 255]

def _mix(color, other, share):
    """Moves a color towards another color by a share."""
    color = np.asarray(color, "float64")
    return color + (np.asarray(other) - color) * share


def _drawn(color):
    """Returns the color in the drawing, uint8 [3], of what has `color` in the photo.

    Its brightness, that of the largest channel, is rounded to one of a few levels. The distances
    of the other channels from it, which make the color, grow.
    """
    color = np.maximum(np.rint(color), 1)
    brightness = color.max()
    step = 255 / (LEVELS - 1)
    level = max(np.rint(brightness * BRIGHTENING / step), 1) * step
    level = min(level, 255)
    distance = (brightness - color) * (level / brightness) * SATURATION
    return np.uint8(np.rint(np.clip(level - distance, 0, 255)))


# ---- shapes: closed outlines, float64 [points, 2]

def _smooth(points):
    """Rounds a closed outline by cutting its corners, in steps that are exact on every machine."""
    for _ in range(2):
        following = np.concatenate([points[1:], points[:1]])
        first_cuts = points * 0.75 + following * 0.25
        second_cuts = points * 0.25 + following * 0.75
        points = np.stack([first_cuts, second_cuts], axis=1).reshape(-1, 2)
    return points


def _parse(text):
    """Returns the points of an outline written as "x,y x,y ...".

    They are percent of the height of an object whose foot is at 0,0: float64 [points, 2].
    """
    return np.array([word.split(",") for word in text.split()], "float64")


def _place(outline, x, y, size, side=1):
    """Scales an outline in percent to an object of `size` units, and moves its foot to x, y.

    Args:
        outline: float64 [points, 2].
        x: where x = 0 of the outline goes.
        y: where y = 0 of the outline goes.
        size: the height in units.
        side: -1 mirrors it left to right.
    """
    return outline * (side * size / 100, size / 100) + (x, y)


def _box(left, top, right, bottom):
    """Returns a rectangle. `left` may be its right edge, and `right` its left one."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], "float64")


def _disc(x, y, radius, radius_y=None):
    """Returns a circle, or an ellipse with a vertical radius of `radius_y`."""
    return CIRCLE * (radius, radius if radius_y is None else radius_y) + (x, y)


CIRCLE = _smooth(np.array([
    (1.03, 0.43), (0.43, 1.03), (-0.43, 1.03), (-1.03, 0.43),
    (-1.03, -0.43), (-0.43, -1.03), (0.43, -1.03), (1.03, -0.43)]))
CRESCENT = _smooth(_parse("10,-100 -30,-92 -56,-50 -30,-8 10,0 30,-8 0,-24 -14,-50 0,-76 30,-92"))
PINE = _parse("0,-100 17,-68 9,-70 26,-40 14,-43 34,-10 -34,-10 -14,-43 -26,-40 -9,-70 -17,-68")
PINE_SNOW = _parse("0,-100 17,-68 10,-73 4,-66 -3,-74 -9,-67 -17,-68")
# The right and left edges of these lie on those of a mountain.
SNOW_CAPS = [
    _parse("0,-100 14,-78 28,-56 17,-66 8,-50 -3,-64 -14,-51 -20,-62 -28,-54 -16,-80"),
    _parse("0,-100 14,-78 24,-62 13,-70 5,-60 -6,-74 -13,-61 -23,-65 -16,-80"),
    _parse("0,-100 14,-78 31,-51 20,-54 12,-46 4,-58 -4,-45 -12,-54 -22,-46 -28,-54 -16,-80"),
]
POPLAR = _smooth(_parse("0,-104 14,-80 19,-40 12,-12 -12,-12 -19,-40 -14,-80"))
BIRD = _parse("-12,-6 -4,-9 0,-5 4,-9 12,-6 4,-6 0,-1 -4,-6")
PALM_TRUNK = _parse("-5,0 5,0 7,-30 14,-60 24,-84 18,-86 8,-62 0,-32")
PALM_LEAVES = [_smooth(_parse(text)) for text in (
    "21,-84 0,-98 -18,-94 -30,-74 -12,-84", "21,-84 40,-100 60,-96 72,-76 52,-86",
    "21,-84 8,-80 -6,-70 -10,-46 2,-62", "21,-84 38,-82 52,-68 54,-46 42,-62",
    "21,-84 16,-104 24,-122 34,-106 30,-92")]
HULL = _smooth(_parse("-46,-18 -46,-18 48,-18 48,-18 30,0 -30,0"))
BIG_SAIL = _parse("-2,-100 -2,-24 -40,-24 -18,-60")
SMALL_SAIL = _parse("4,-92 4,-24 34,-24")
COAT = _smooth(_parse("-10,-64 10,-64 16,-46 22,-20 22,-18 -22,-18 -22,-20 -16,-46"))
SLEEVE = _smooth(_parse("8,-64 15,-62 30,-42 28,-35 21,-38 9,-54"))
RAISED_SLEEVE = _smooth(_parse("8,-62 13,-64 30,-84 36,-82 34,-72 13,-52"))
HAIR_CUTS = [_smooth(_parse(text)) for text in (
    "-20,-76 -23,-94 -10,-106 10,-106 23,-94 20,-76 16,-86 6,-90 -10,-88 -16,-84",
    "-20,-56 -25,-90 -12,-106 12,-106 25,-90 20,-56 14,-58 17,-86 6,-91 -10,-89 -17,-84 -14,-58")]
CAT_BODY = _smooth(_parse("-14,-56 14,-56 26,-22 26,0 26,0 -26,0 -26,0 -26,-22"))
CAT_EAR = _parse("5,-88 23,-104 24,-74")
CAT_TAIL = _smooth(_parse("18,-2 44,-2 54,-22 46,-48 56,-52 66,-20 50,8 18,8"))
CAT_BELLY = _smooth(_parse("-8,-42 8,-42 13,-14 8,0 -8,0 -13,-14"))
CAR_BODY = _smooth(_parse("-92,-14 -92,-50 -60,-58 60,-58 96,-48 96,-14"))
CAR_CABIN = _smooth(_parse("-60,-54 -42,-100 -42,-100 30,-100 30,-100 60,-54"))


# ---- regions

class Scene:
    """A map of regions, and how each of them looks.

    Args:
        dice: a Dice.
        size: rows and columns of the image.
    """

    def __init__(self, dice, size):
        self.dice = dice
        self.scale = size * OVERSAMPLING / UNITS  # pixels per unit
        # Eight bits: at most 256 regions.
        self.map = Image.new("L", (size * OVERSAMPLING, size * OVERSAMPLING))
        self.pen = ImageDraw.Draw(self.map)
        self.regions = []
        self.shadows = []  # boxes of ellipses, in units
        self.glow = None   # (x, y, strength) of the sun or moon

        self.time = dice.choice(TIME_SHARES)
        colors = [dice.color([color], spread=28) for color in TIMES[self.time]]
        self.sky_above, self.sky_below, self.haze, self.sea, self.light = colors
        self.sun_side = dice.choice((-1, 1))  # where the light comes from: left or right
        self.is_dark = self.time == "dusk"
        self.has_snow = self.time == "winter"
        season = dice.choice(("green", "green", "autumn", "blossom"))
        self.leaves = LEAVES["snowy" if self.has_snow else season]
        self.grass = SNOW if self.has_snow else dice.color(GRASS)

    def add(self, outlines, color, material="plain", depth=0, shade="flat", *, bottom=None,
            span=None, within=None, glows=False, soft=0):
        """Paints a region over what is there.

        Args:
            outlines: a list of outlines in units, float64 [points, 2] each.
            color: in white light, nearby; at the top, if `bottom` is set.
            material: a name of MATERIALS.
            depth: how far away it is, from 0 to 1, where only haze is seen.
            shade: a name of SHADES.
            bottom: the color at the bottom, if it differs.
            span: (top, bottom) of the part that can be seen, if other regions hide the rest.
            within: the number of a region from which no outline separates this one.
            glows: whether its color does not depend on the light.
            soft: how blurred its edge is in the photo, from 0 to 1.

        Returns:
            The number of the region.
        """
        top = self._seen(color, depth, glows)
        bottom = top if bottom is None else self._seen(bottom, depth, glows)
        number = len(self.regions)
        points = np.concatenate(outlines)
        low, high = points.min(axis=0), points.max(axis=0)
        if span is not None:
            low[1], high[1] = span
        self.regions.append({
            "color": (top + bottom) / 2,  # in the middle
            "color_change": (bottom - top) / 2,  # from the middle to the bottom
            "middle": (low + high) / 2,  # x and y, in units
            "half": np.maximum((high - low) / 2, 1),  # half of the width and the height, in units
            # How much brighter the lit side and the top are, and how much darker the edges.
            "shade": np.multiply(SHADES[shade], (self.sun_side, 1, 1)) * (0.5 + 0.5 * (1 - depth)),
            "material": list(MATERIALS).index(material),
            "strength": MATERIALS[material] * (1 - 0.7 * depth),  # of the texture
            "shadow": SHADOW if material in ("grass", "grain") else 0,  # only ground is in shadow
            # No outline separates regions of one group.
            "group": number if within is None else self.regions[within]["group"],
            "soft": soft,
        })
        for outline in outlines:
            pixels = np.rint(outline * self.scale).astype(int)
            self.pen.polygon(pixels.ravel().tolist(), number)
        return number

    def _seen(self, color, depth, glows):
        """Returns a color as the camera sees it, before texture and shading."""
        if glows:
            return np.asarray(color, "float64")
        lit = np.asarray(color) * self.light / 255
        hazy = _mix(lit, self.haze, HAZE * depth)
        return _mix(hazy, (hazy[0] + 2 * hazy[1] + hazy[2]) / 4, MUTED)

    def shadow(self, x, y, width):
        """Darkens the ground beside something that stands at x, y, on the photo only."""
        x -= self.sun_side * width * 0.3
        self.shadows.append((x - width * 0.7, y - width * 0.12, x + width * 0.7, y + width * 0.16))

    def column(self, name):
        """Returns the value `name` of all regions, float32 [regions, ...]."""
        return np.array([region[name] for region in self.regions], "float32")


def _scene(seed, number, size):
    """Paints scene `number` of the sequence of `seed`. Returns a Scene."""
    scene = Scene(Dice(seed, number), size)
    kind = scene.dice.choice(list(KINDS))
    KINDS[kind](scene)
    return scene


# ---- sky

def _sky(scene, horizon, sun=True):
    """Paints the sky, clouds and birds, and the sun or moon."""
    dice = scene.dice
    everything = _box(0, 0, UNITS, UNITS)
    sky = scene.add([everything], scene.sky_above, "cloud", bottom=scene.sky_below,
                    span=(0, horizon), glows=True)
    if scene.is_dark:
        stars = [_disc(dice.between(0, UNITS), dice.between(0, horizon * 0.7), 2)
                 for _ in range(dice.whole(5, 16))]
        scene.add(stars, (255, 250, 220), within=sky, glows=True)
    elif dice.chance(0.25):
        _birds(scene, dice.between(40, 210), horizon * dice.between(0.2, 0.5))
    if sun and dice.chance(0.7):
        _sun(scene, UNITS * (0.5 + scene.sun_side * dice.between(0.12, 0.4)),
             horizon * dice.between(0.2, 0.5), dice.between(11, 19))
    for _ in range(dice.whole(0, 3)):
        _cloud(scene, dice.between(0, UNITS), horizon * dice.between(0.12, 0.65),
               dice.between(22, 54))


def _sun(scene, x, y, radius):
    dice = scene.dice
    if scene.is_dark and dice.chance(0.5):
        outline = _place(CRESCENT, x, y + radius, 2 * radius, scene.sun_side)
    else:
        outline = _disc(x, y, radius)
    color = (255, 240, 150) if scene.time == "sunset" else (255, 246, 200)
    scene.add([outline], color, glows=True, soft=0.5)
    scene.glow = (x, y, 46 if scene.is_dark else 70)


def _cloud(scene, x, y, width):
    """Paints a cloud of puffs on a flat base."""
    dice = scene.dice
    outlines = [_disc(x, y, width, width * 0.18)]
    for part in (-0.55, -0.1, 0.4):
        radius = width * dice.between(0.26, 0.42)
        middle = x + width * (part + dice.between(-0.1, 0.1))
        outlines.append(_disc(middle, y - radius * 0.5, radius, radius * 0.8))
    top = _mix(WHITE, scene.sky_below, 0.55 if scene.is_dark else 0.12)
    bottom = _mix(top, scene.sky_above, 0.35)
    scene.add(outlines, top, "cloud", shade="ball", bottom=bottom, glows=True, soft=1)


def _birds(scene, x, y):
    dice = scene.dice
    outlines = []
    for _ in range(dice.whole(2, 4)):
        outlines.append(_place(BIRD, x + dice.between(-36, 36), y + dice.between(-16, 16),
                               dice.between(60, 84)))
    scene.add(outlines, (70, 68, 84), within=0)  # the sky is the first region


def _balloon(scene, x, y, size):
    """Paints a hot-air balloon."""
    color = scene.dice.color(BRIGHT)
    basket = _box(x - size * 0.12, y + size * 0.62, x + size * 0.12, y + size * 0.82)
    ropes = _box(x - size * 0.1, y + size * 0.4, x + size * 0.1, y + size * 0.64)
    scene.add([ropes, basket], WOOD, "planks")
    balloon = scene.add([_disc(x, y, size * 0.46, size * 0.52)], color, shade="ball")
    scene.add([_disc(x, y, size * 0.2, size * 0.52)], scene.dice.color(BRIGHT), shade="ball",
              within=balloon)


# ---- land

def _ridge(scene, y, height, steps):
    """Returns the outline of land with a wavy upper edge around `y`, down to the bottom."""
    heights = y + height * (scene.dice.random(steps + 3) - 0.5)
    columns = (np.arange(steps + 3) - 1) * (UNITS / steps)
    edge = np.stack([columns, heights], axis=1)
    corners = [(UNITS * 1.5, UNITS * 1.6), (-UNITS * 0.5, UNITS * 1.6)]
    return _smooth(np.concatenate([edge, corners]))


def _hills(scene, horizon, layers):
    """Paints rows of wooded hills in the haze, from the farthest to the nearest."""
    for layer in range(layers):
        depth = 0.8 - 0.5 * layer / layers
        y = horizon - 30 + 24 * layer / layers + scene.dice.between(-4, 4)
        outline = _ridge(scene, y, 34, scene.dice.whole(3, 6))
        color = scene.dice.color(scene.leaves)
        scene.add([outline], color, "leaves", depth, bottom=_mix(color, scene.haze, 0.4),
                  span=(y - 17, y + 40))


def _ground(scene, y, waviness=14):
    """Paints the foreground, grass or snow. Returns the number of its region."""
    outline = _ridge(scene, y, waviness, scene.dice.whole(2, 4))
    far = _mix(scene.grass, scene.haze, 0.2)
    material = "grain" if scene.has_snow else "grass"
    near = _mix(scene.grass, (40, 60, 40), 0.1)
    return scene.add([outline], far, material, bottom=near, span=(y, UNITS))


def _mountain(scene, x, y, width, height, depth):
    """Paints a mountain with a dark side, and snow on its top."""
    dice = scene.dice
    rock = dice.color([(112, 116, 134), (134, 122, 120), (98, 112, 128)])
    peak = (x, y - height)
    left = [(x - width * 0.16, y - height * 0.8), (x - width * 0.3, y - height * 0.5),
            (x - width * 0.62, y)]
    right = [(x + width * 0.14, y - height * 0.78), (x + width * 0.36, y - height * 0.44),
             (x + width * 0.62, y)]
    outline = np.array([peak, *right, *left[::-1]])
    mountain = scene.add([outline], rock, "rock", depth, "slope")
    middle = [(x - width * 0.04, y - height * 0.6), (x + width * 0.1, y - height * 0.3),
              (x, y)]
    dark = [peak, *(right if scene.sun_side < 0 else left), *middle[::-1]]
    scene.add([np.array(dark)], rock * 0.78, "rock", depth, within=mountain)
    cap = dice.choice(SNOW_CAPS) * (width / 100, height / 100) + (x, y)
    scene.add([cap], SNOW, "rock", depth * 0.6, "slope")


def _water(scene, top, bottom):
    """Paints water from `top` to `bottom`, with the light of the sky on it."""
    dice = scene.dice
    far = _mix(scene.sea, scene.sky_below, 0.5)
    water = scene.add([_box(-2, top, UNITS + 2, bottom)], far, "water",
                      bottom=_mix(scene.sea, scene.sky_above, 0.2), glows=True)
    waves = []
    for _ in range(dice.whole(3, 8)):
        y = dice.between(top + 8, bottom - 4)
        width = dice.between(10, 26) * (0.5 + (y - top) / (bottom - top))
        waves.append(_disc(dice.between(0, UNITS), y, width, 1.6))
    scene.add(waves, _mix(far, WHITE, 0.4), "water", within=water, glows=True)
    if scene.glow:
        x = scene.glow[0]
        glitter = [_disc(x + dice.between(-4, 4), y, dice.between(8, 20), 2)
                   for y in np.arange(top + 4, bottom - 4, 8)]
        scene.add(glitter, _mix(scene.sky_below, (255, 244, 200), 0.7), "water", within=water,
                  glows=True)


def _path(scene, x, top, width):
    """Paints a winding path, from the bottom of the image to x, top."""
    dice = scene.dice
    start = dice.between(70, 190)
    bend = (x + start) / 2 + dice.between(-40, 40)
    middle = (top + UNITS) / 2
    outline = _smooth(np.array([
        (x - 2, top), (x + 3, top), (bend + width * 0.5, middle), (start + width, UNITS + 30),
        (start - width, UNITS + 30), (bend - width * 0.3, middle)]))
    color = dice.color([(214, 190, 146), (196, 178, 160), (180, 150, 116)])
    if scene.has_snow:
        color = _mix(color, SNOW, 0.5)
    scene.add([outline], color, "grain")


def _flowers(scene, ground, top):
    """Paints flowers on the ground below `top`, none in winter."""
    dice = scene.dice
    if scene.has_snow:
        return
    for _ in range(dice.whole(1, 3)):
        discs = []
        for _ in range(dice.whole(4, 12)):
            y = dice.between(top, UNITS)
            discs.append(_disc(dice.between(0, UNITS), y, 1.6 + 3.4 * (y - top) / (UNITS - top)))
        scene.add(discs, dice.color(FLOWERS), within=ground)


def _fence(scene, y, height, left=0, right=UNITS):
    """Paints a fence of white or wooden pickets."""
    color = WHITE if scene.dice.chance(0.6) else WOOD
    outlines = [_box(left, y - height * 0.75, right, y - height * 0.55),
                _box(left, y - height * 0.35, right, y - height * 0.15)]
    for x in np.arange(left, right - height * 0.4, height * 0.9):
        width = height * 0.46
        outlines.append(np.array([
            (x, y), (x, y - height * 0.85), (x + width / 2, y - height),
            (x + width, y - height * 0.85), (x + width, y)]))
    scene.add(outlines, color, "planks")


def _boat(scene, x, y, size, depth=0):
    """Paints a sailing boat."""
    dice = scene.dice
    side = dice.choice((-1, 1))
    scene.add([_box(x - size * 0.02, y - size, x + size * 0.03, y - size * 0.16)], WOOD, "bark",
              depth)
    sail = dice.color([WHITE, WHITE, (240, 220, 180), (222, 80, 70)])
    scene.add([_place(BIG_SAIL, x, y, size, side)], sail, "plain", depth, "ball")
    scene.add([_place(SMALL_SAIL, x, y, size, side)], dice.color([sail, *BRIGHT]), "plain", depth,
              "ball")
    scene.add([_place(HULL, x, y, size, side)], dice.color((*BRIGHT, WOOD)), "planks", depth,
              "ball")


# ---- trees

def _tree(scene, x, y, size, depth=0):
    """Paints a tree of one of several sorts that stands at x, y."""
    kind = scene.dice.choice(("round", "round", "round", "pine", "pine", "poplar"))
    TREES[kind](scene, x, y, size, depth)


def _trunk(scene, x, y, width, height, depth):
    birch = scene.dice.chance(0.15)
    outline = np.array([(x - width * 0.7, y), (x + width * 0.7, y), (x + width * 0.45, y - height),
                        (x - width * 0.45, y - height)])
    scene.add([outline], scene.dice.color([BIRCH if birch else BARK]), "bark", depth, "column")


def _round_tree(scene, x, y, size, depth=0):
    """Paints a tree with a crown like a cloud."""
    dice = scene.dice
    scene.shadow(x, y, size * 0.5)
    _trunk(scene, x, y, size * 0.1, size * 0.5, depth)
    middle = y - size * 0.66
    outlines = [_disc(x, middle, size * 0.28)]
    for across, down in ((-0.2, 0.08), (0.2, 0.08), (-0.13, -0.12), (0.13, -0.12)):
        outlines.append(_disc(
            x + size * (across + dice.between(-0.05, 0.05)),
            middle + size * (down + dice.between(-0.06, 0.06)), size * dice.between(0.17, 0.24)))
    color = dice.color(scene.leaves)
    scene.add(outlines, color, "leaves", depth, "ball")


def _pine(scene, x, y, size, depth=0):
    scene.shadow(x, y, size * 0.36)
    _trunk(scene, x, y, size * 0.07, size * 0.16, depth)
    color = scene.dice.color(NEEDLES)
    scene.add([_place(PINE, x, y, size)], color, "leaves", depth, "column")
    if scene.has_snow:
        scene.add([_place(PINE_SNOW, x, y, size)], SNOW, "grain", depth, "column")


def _poplar(scene, x, y, size, depth=0):
    scene.shadow(x, y, size * 0.3)
    _trunk(scene, x, y, size * 0.07, size * 0.2, depth)
    scene.add([_place(POPLAR, x, y, size)], scene.dice.color(scene.leaves), "leaves", depth,
              "column")


def _palm(scene, x, y, size):
    side = scene.dice.choice((-1, 1))
    scene.shadow(x, y, size * 0.4)
    scene.add([_place(PALM_TRUNK, x, y, size, side)], (158, 118, 80), "bark", shade="column")
    leaves = [_place(leaf, x, y, size, side) for leaf in PALM_LEAVES]
    scene.add(leaves, scene.dice.color(LEAVES["green"]), "leaves", shade="ball")


def _bush(scene, x, y, size, depth=0):
    dice = scene.dice
    outlines = []
    for across in (-0.5, 0, 0.5):
        radius = size * dice.between(0.36, 0.5)
        outlines.append(_disc(x + size * across, y - radius * 0.8, radius))
    scene.shadow(x, y, size)
    scene.add(outlines, dice.color(scene.leaves), "leaves", depth, "ball")


TREES = {"round": _round_tree, "pine": _pine, "poplar": _poplar}


# ---- buildings

def _house(scene, x, y, size, depth=0):
    """Paints a house about 1.5 * `size` wide, seen from the front or from a corner.

    Details of small houses have no outlines, which would hide them.
    """
    dice = scene.dice
    wall = dice.color(WALLS)
    roof = dice.color(ROOFS)
    if scene.has_snow:
        roof = _mix(roof, SNOW, 0.75)
    material = dice.choice(("bricks", "planks", "plain"))
    height = size * dice.between(0.5, 0.66)
    scene.shadow(x, y, size * 1.5)
    if dice.chance(0.5):
        _long_house(scene, x, y, size * 0.75, height, wall, roof, material, depth)
    else:
        _corner_house(scene, x, y, size * 0.75, height, wall, roof, material, depth)


def _long_house(scene, x, y, half, height, wall, roof, material, depth):
    """Paints a house from the front: below, a wall of 2 `half` x `height`, above, a roof."""
    dice = scene.dice
    top = y - height
    rise = height * dice.between(0.6, 0.9)
    if dice.chance(0.7):
        _chimney(scene, x + half * dice.choice((-0.5, 0.5)), top - rise * 0.5, half * 0.16,
                 rise * 0.9, depth)
    number = scene.add([_box(x - half, top, x + half, y)], wall, material, depth, "wall")
    edge = half * 1.14
    ends = half * dice.between(0.6, 0.9)
    outline = np.array([(x - edge, top + 1), (x - ends, top - rise), (x + ends, top - rise),
                        (x + edge, top + 1)])
    scene.add([outline], roof, "tiles", depth, "slope")
    _door(scene, x, y, half * 0.34, height * 0.66, number, depth)
    _windows(scene, [x - half * 0.6, x + half * 0.6], [top + height * 0.45], half * 0.4,
             height * 0.4, number, depth)


def _corner_house(scene, x, y, half, height, wall, roof, material, depth):
    """Paints a house from a corner: its gable on one side, and its roof on the other."""
    side = scene.dice.choice((-1, 1))
    top = y - height
    rise = height * scene.dice.between(0.7, 0.95)
    corner = x - side * half * 0.1
    gable = x - side * half * 0.6   # the middle of the gable
    near = x - side * half * 1.1    # the other edge of the gable
    end = x + side * half * 1.1     # where the long wall ends
    apex = top - rise
    if scene.dice.chance(0.7):
        _chimney(scene, x + side * half * 0.4, apex + rise * 0.4, half * 0.16, rise * 0.7, depth)
    is_lit = side == -scene.sun_side
    long_wall = scene.add([_box(corner, top, end, y - height * 0.04)],
                          wall * (0.84 if is_lit else 1), material, depth, "wall")
    front = np.array([(near, y), (near, top), (gable, apex), (corner, top), (corner, y)])
    gable_wall = scene.add([front], wall * (1 if is_lit else 0.86), material, depth, "wall")
    outline = np.array([(gable, apex - 2), (end - side * half * 0.34, apex - 2),
                        (end + side * half * 0.1, top + 2), (corner + side * half * 0.06, top + 3)])
    scene.add([outline], roof, "tiles", depth, "slope")
    eave = np.array([(gable, apex - 4), (gable, apex + 4), (near, top + 4),
                     (near - side * half * 0.1, top + 3)])
    scene.add([eave], roof * 0.9, "tiles", depth)
    _door(scene, gable, y, half * 0.34, height * 0.6, gable_wall, depth)
    columns = [corner + side * half * 0.34, corner + side * half * 0.86]
    _windows(scene, columns, [top + height * 0.5], half * 0.3, height * 0.4, long_wall, depth)


def _chimney(scene, x, bottom, width, height, depth):
    top = bottom - height
    scene.add([_box(x - width / 2, top, x + width / 2, bottom)], (170, 96, 80), "bricks", depth,
              "wall")
    if scene.dice.chance(0.5):
        lean = scene.dice.choice((-1, 1))
        puffs = [_disc(x + lean * width * (step - 0.6), top - width * step, width * step * 0.36)
                 for step in (0.9, 1.6, 2.6)]
        color = _mix(WHITE, scene.sky_below, 0.4)
        scene.add(puffs, color, "cloud", shade="ball", glows=True, soft=1)


def _door(scene, x, y, width, height, wall, depth):
    within = wall if width < 10 else None
    color = scene.dice.color([WOOD, *BRIGHT[:5]])
    scene.add([_box(x - width / 2, y - height, x + width / 2, y)], color, "planks", depth,
              within=within)


def _windows(scene, columns, rows, width, height, wall, depth, lit_share=0.7):
    """Paints windows around all points of `columns` x `rows`. At dusk, some of them are lit.

    Args:
        scene: a Scene.
        columns: sequence of x.
        rows: sequence of y.
        width: of a window.
        height: of a window.
        wall: number of the region they are in.
        depth: as in `Scene.add`.
        lit_share: the share of windows that are lit at dusk.
    """
    dark, lit = [], []
    for x in columns:
        for y in rows:
            box = _box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if scene.is_dark and scene.dice.chance(lit_share):
                lit.append(box)
            else:
                dark.append(box)
    within = wall if width < 12 else None
    if dark:
        glass = _mix((92, 124, 156), scene.sky_below, 0.25)
        scene.add(dark, glass, "glass", depth, within=within)
    if lit:
        scene.add(lit, LAMPLIGHT, "glass", depth * 0.5, within=within, glows=True)


def _tower(scene, x, y, width, height, depth):
    """Paints a high building with a flat or pointed top."""
    dice = scene.dice
    wall = dice.color(TOWERS)
    top = y - height
    top_kind = dice.choice(("flat", "flat", "step", "antenna", "point"))
    if top_kind == "step":
        scene.add([_box(x - width * 0.3, top - 14, x + width * 0.3, top + 2)], wall * 0.9, "plain",
                  depth, "wall")
    if top_kind == "antenna":
        scene.add([_box(x - 1.5, top - 26, x + 1.5, top)], METAL, "plain", depth)
    if top_kind == "point":
        outline = np.array([(x - width / 2, top + 1), (x, top - width * 0.6),
                            (x + width / 2, top + 1)])
        scene.add([outline], dice.color(ROOFS), "tiles", depth, "slope")
    number = scene.add([_box(x - width / 2, top, x + width / 2, y)], wall,
                       dice.choice(("plain", "bricks")), depth, "wall")
    side = -scene.sun_side * width / 2
    if dice.chance(0.6):
        scene.add([_box(x + side * 0.5, top, x + side, y)], wall * 0.8, "plain",
                  depth, within=number)
    count = max(int(width / 15), 1)
    columns = x + (np.arange(count) - (count - 1) / 2) * (width / (count + 0.3))
    rows = np.arange(top + 14, y - 10, 19)
    _windows(scene, columns, rows, 8, 10, number, depth, lit_share=0.5)


def _church(scene, x, y, size, depth=0):
    """Paints a church with a pointed tower."""
    wall = scene.dice.color([WALLS[0], WALLS[2]])
    roof = scene.dice.color(ROOFS[:3])
    nave = scene.add([_box(x, y - size * 0.4, x + size * 0.7, y)], wall, "plain", depth, "wall")
    nave_roof = _parse("0,-38 0,-68 62,-68 78,-38")
    scene.add([_place(nave_roof, x, y, size)], roof, "tiles", depth, "slope")
    _windows(scene, [x + size * 0.32, x + size * 0.54], [y - size * 0.2], size * 0.1, size * 0.2,
             nave, depth)
    tower = scene.add([_box(x - size * 0.16, y - size * 0.9, x + size * 0.16, y)], wall, "plain",
                      depth, "column")
    spire = np.array([(x - size * 0.22, y - size * 0.88), (x, y - size * 1.4),
                      (x + size * 0.22, y - size * 0.88)])
    scene.add([spire], roof, "tiles", depth, "column")
    _windows(scene, [x], [y - size * 0.7], size * 0.11, size * 0.16, tower, depth)
    _door(scene, x, y, size * 0.15, size * 0.26, tower, depth)


def _lighthouse(scene, x, y, size):
    """Paints a lighthouse with colored stripes."""
    tower = _parse("-14,0 14,0 9,-76 -9,-76")
    number = scene.add([_place(tower, x, y, size)], WHITE, "bricks", shade="column")
    stripes = [_place(_parse("-13,-14 13,-14 12,-30 -12,-30"), x, y, size),
               _place(_parse("-11,-46 11,-46 10,-62 -10,-62"), x, y, size)]
    red = scene.dice.color([(210, 60, 56), (210, 60, 56), (50, 96, 160)])
    scene.add(stripes, red, "bricks", shade="column", within=number)
    scene.add([_place(_parse("-7,-76 7,-76 7,-88 -7,-88"), x, y, size)], LAMPLIGHT, "glass",
              glows=True)
    scene.add([_place(_parse("-11,-87 11,-87 0,-102"), x, y, size)], red * 0.9, "plain")


def _lamp(scene, x, y, height):
    """Paints a street lamp."""
    side = scene.dice.choice((-1, 1))
    pole = _box(x - 2, y - height, x + 2, y)
    arm = _box(x, y - height, x + side * 14, y - height + 4)
    scene.add([pole, arm], METAL, "plain")
    color = LAMPLIGHT if scene.is_dark else WHITE
    scene.add([_disc(x + side * 13, y - height + 6, 6, 4.5)], color, glows=scene.is_dark)


def _car(scene, x, y, size):
    dice = scene.dice
    side = dice.choice((-1, 1))
    color = dice.color(BRIGHT)
    scene.shadow(x, y, size * 1.8)
    scene.add([_place(CAR_CABIN, x, y, size, side)], _mix((92, 124, 156), scene.sky_below, 0.3),
              "glass", shade="wall")
    scene.add([_place(CAR_BODY, x, y, size, side)], color, shade="ball")
    wheels = [_disc(x + across * size, y - size * 0.17, size * 0.2) for across in (-0.54, 0.54)]
    scene.add(wheels, (52, 50, 58))


# ---- living things

def _person(scene, x, y, size):
    """Paints a person from the feet at x, y upwards. Some hold a balloon."""
    dice = scene.dice
    side = dice.choice((-1, 1))
    clothes = dice.color(BRIGHT)
    skin = dice.color(SKINS, spread=8)
    scene.shadow(x, y, size * 0.4)
    legs = [_box(x + left * size, y - size * 0.22, x + (left + 0.1) * size, y)
            for left in (-0.13, 0.03)]
    scene.add(legs, dice.color([(60, 70, 110), (90, 64, 60)]), shade="column")
    if dice.chance(0.4):
        hand_x, hand_y = x + side * size * 0.33, y - size * 0.8
        string = np.array([(hand_x, hand_y), (hand_x + 2, hand_y), (hand_x + 1, y - size * 1.35)])
        scene.add([string], LINE)
        scene.add([_disc(hand_x, y - size * 1.5, size * 0.18, size * 0.21)], dice.color(BRIGHT),
                  shade="ball")
        sleeve = RAISED_SLEEVE
    else:
        sleeve = SLEEVE
    sleeves = [_place(sleeve, x, y, size, side), _place(SLEEVE, x, y, size, -side)]
    scene.add(sleeves, clothes * 0.9, shade="ball")
    scene.add([_place(COAT, x, y, size)], clothes, shade="ball")
    head = scene.add([_disc(x, y - size * 0.8, size * 0.21)], skin, shade="ball")
    eyes = [_disc(x + (across + side * 0.03) * size, y - size * 0.76, size * 0.032, size * 0.045)
            for across in (-0.08, 0.08)]
    scene.add(eyes, LINE, within=head)
    scene.add([_place(dice.choice(HAIR_CUTS), x, y, size, side)], dice.color(HAIR), "bark",
              shade="ball", within=head)
    if dice.chance(0.3):
        brim = _disc(x, y - size * 0.94, size * 0.32, size * 0.05)
        crown = _disc(x, y - size * 1.0, size * 0.18, size * 0.11)
        scene.add([brim, crown], dice.color([(240, 214, 140), *BRIGHT]), "planks", shade="ball",
                  within=head)


def _cat(scene, x, y, size):
    """Paints a sitting cat."""
    side = scene.dice.choice((-1, 1))
    fur = scene.dice.color(FUR)
    scene.shadow(x, y, size * 0.7)
    scene.add([_place(CAT_TAIL, x, y, size, side)], fur, "bark", shade="ball")
    body = scene.add([_place(CAT_BODY, x, y, size)], fur, "bark", shade="ball")
    scene.add([_place(CAT_BELLY, x, y, size)], _mix(fur, WHITE, 0.6), "bark", within=body)
    ears = [_place(CAT_EAR, x, y, size), _place(CAT_EAR, x, y, size, -1)]
    skull = _disc(x, y - size * 0.7, size * 0.27, size * 0.23)
    head = scene.add(ears + [skull], fur, "bark", shade="ball")
    eyes = [_disc(x + across * size, y - size * 0.72, size * 0.06) for across in (-0.11, 0.11)]
    scene.add(eyes, (250, 230, 110) if fur.sum() < 400 else LINE, within=head)


def _snowman(scene, x, y, size):
    scene.shadow(x, y, size * 0.5)
    snow = scene.add([_disc(x, y - size * 0.24, size * 0.28, size * 0.25)], SNOW, "grain",
                     shade="ball")
    scene.add([_disc(x, y - size * 0.58, size * 0.2, size * 0.18)], SNOW, "grain", shade="ball")
    head = scene.add([_disc(x, y - size * 0.84, size * 0.14)], SNOW, "grain", shade="ball")
    scarf = _box(x - size * 0.15, y - size * 0.76, x + size * 0.15, y - size * 0.69)
    scene.add([scarf], scene.dice.color(BRIGHT[:5]), within=snow)
    hat = [_box(x - size * 0.16, y - size * 0.97, x + size * 0.16, y - size * 0.92),
           _box(x - size * 0.1, y - size * 1.12, x + size * 0.1, y - size * 0.92)]
    scene.add(hat, (64, 58, 70))
    nose = _place(_parse("0,-86 0,-80 18,-82"), x, y, size, scene.sun_side)
    scene.add([nose], (240, 130, 50), within=head)


# ---- kinds of scenes

def _hill_scene(scene):
    """Hills with trees, a path and sometimes a balloon or a house."""
    dice = scene.dice
    horizon = dice.between(120, 150)
    _sky(scene, horizon)
    _hills(scene, horizon, dice.whole(1, 3))
    if dice.chance(0.4):
        _balloon(scene, dice.between(40, 216), dice.between(40, 80), dice.between(36, 60))
    ground = _ground(scene, horizon + dice.between(2, 16), 26)
    _path(scene, dice.between(60, 196), horizon + 22, dice.between(10, 26))
    if dice.chance(0.4):
        _house(scene, dice.between(60, 196), horizon + 36, dice.between(30, 44), 0.15)
    _flowers(scene, ground, horizon + 50)
    _scatter_trees(scene, dice.whole(2, 5), horizon + 20, UNITS - 20)
    if dice.chance(0.4):
        _fence(scene, UNITS - dice.between(0, 16), dice.between(22, 32))


def _mountain_scene(scene):
    """Snowy mountains behind a row of pines."""
    dice = scene.dice
    horizon = dice.between(140, 170)
    _sky(scene, horizon)
    places = [dice.between(10, 90), dice.between(166, 246), dice.between(90, 166)]
    for index, x in enumerate(places[:dice.whole(2, 3)]):
        _mountain(scene, x, horizon + 20, dice.between(130, 190), dice.between(80, 130),
                  0.55 - 0.15 * index)
    if dice.chance(0.4):
        _hills(scene, horizon + 16, 1)
        _water(scene, horizon + 12, horizon + 54)
    else:
        _ground(scene, horizon + 14, 6)
    _scatter(scene, _pine, dice.whole(4, 9), horizon + 14, horizon + 24, (24, 40), depth=0.25)
    ground = _ground(scene, horizon + dice.between(26, 50))
    _flowers(scene, ground, horizon + 50)
    _scatter(scene, _pine, dice.whole(1, 4), 206, UNITS + 10, (60, 120))


def _lake_scene(scene):
    """A lake between hills, with a boat and trees on the near shore."""
    dice = scene.dice
    horizon = dice.between(100, 130)
    _sky(scene, horizon)
    if dice.chance(0.4):
        _mountain(scene, dice.between(40, 216), horizon + 6, dice.between(150, 220),
                  dice.between(50, 80), 0.6)
    _hills(scene, horizon, dice.whole(1, 2))
    _water(scene, horizon, UNITS)
    for _ in range(dice.whole(1, 2)):
        _boat(scene, dice.between(40, 216), dice.between(horizon + 34, 186), dice.between(38, 64))
    ground = _ground(scene, dice.between(206, 232), 34)
    _flowers(scene, ground, 226)
    _scatter_trees(scene, dice.whole(1, 3), 228, UNITS)


def _sea_scene(scene):
    """The sea with a lighthouse on a cliff, and boats."""
    dice = scene.dice
    horizon = dice.between(120, 150)
    _sky(scene, horizon)
    _water(scene, horizon, UNITS)
    side = -scene.sun_side
    for _ in range(dice.whole(1, 2)):
        _boat(scene, 128 - side * dice.between(0, 96), dice.between(horizon + 26, 230),
              dice.between(40, 70))
    cliff = _smooth(np.array([
        (128 + side * dice.between(10, 40), UNITS + 30), (128 + side * 46, 200),
        (128 + side * 60, 176), (128 + side * 90, 164), (128 + side * 170, 160),
        (128 + side * 170, UNITS + 30)]))
    scene.add([cliff], STONE, "rock", shade="slope")
    grass = _smooth(np.array([
        (128 + side * 54, 190), (128 + side * 62, 172), (128 + side * 90, 160),
        (128 + side * 170, 156), (128 + side * 170, 186), (128 + side * 84, 184)]))
    scene.add([grass], scene.grass, "grain" if scene.has_snow else "grass")
    _lighthouse(scene, 128 + side * dice.between(84, 94), 174, dice.between(100, 130))
    if dice.chance(0.6):
        _birds(scene, dice.between(60, 196), dice.between(50, 90))


def _village_scene(scene):
    """Houses and a church among trees, before hills."""
    dice = scene.dice
    horizon = dice.between(96, 120)
    _sky(scene, horizon)
    _hills(scene, horizon, dice.whole(1, 2))
    _ground(scene, horizon + 6, 16)
    _path(scene, dice.between(90, 166), horizon + 20, dice.between(12, 24))
    places = [(42, 156), (204, 158), (122, 150), (60, 224), (196, 228)]
    church = dice.whole(0, 2) if dice.chance(0.7) else None
    for index, (x, y) in enumerate(places):
        x += dice.between(-14, 14)
        y += dice.between(-8, 8)
        near = (y - 150) / 80
        if index == church:
            _church(scene, x, y, dice.between(58, 72), 0.15)
        elif dice.chance(0.85):
            _house(scene, x, y, 40 + 22 * near, max(0.2 - 0.2 * near, 0))
        if dice.chance(0.7):
            _tree(scene, x + dice.choice((-1, 1)) * 42, y + 6, dice.between(40, 56) + 14 * near)
    if dice.chance(0.3):
        _fence(scene, UNITS, 24)


def _house_scene(scene):
    """One house with a garden."""
    dice = scene.dice
    horizon = dice.between(136, 160)
    _sky(scene, horizon)
    if dice.chance(0.6):
        _hills(scene, horizon, 1)
    ground = _ground(scene, horizon, 12)
    x = dice.between(104, 152)
    y = dice.between(194, 208)
    for place in (dice.between(10, 46), dice.between(206, 246)):
        if dice.chance(0.8):
            _tree(scene, place, y - dice.between(6, 20), dice.between(90, 140), 0.1)
    _path(scene, x, y - 2, dice.between(14, 26))
    _house(scene, x, y, dice.between(92, 112))
    for place in (-1, 1):
        if dice.chance(0.6):
            _bush(scene, x + place * dice.between(64, 84), y + 8, dice.between(22, 32))
    _flowers(scene, ground, y + 8)
    if scene.has_snow and dice.chance(0.6):
        _snowman(scene, dice.choice((50, 206)), 244, dice.between(56, 70))
    elif dice.chance(0.3):
        _cat(scene, dice.choice((44, 212)), 240, dice.between(34, 42))
    elif dice.chance(0.6):
        gap = dice.between(96, 132)
        _fence(scene, UNITS - 4, 30, 0, gap)
        _fence(scene, UNITS - 4, 30, gap + 40, UNITS + 20)


def _street_scene(scene):
    """High buildings along a street, with a car, lamps and trees."""
    dice = scene.dice
    _sky(scene, 130)
    for depth, base, low, high in ((0.7, 196, 84, 160), (0.2, 202, 40, 124)):
        x = dice.between(-10, 10)
        while x < UNITS:
            width = dice.between(34, 62)
            if dice.chance(0.85):
                _tower(scene, x + width / 2, base, width, dice.between(low, high), depth)
            x += width + 1
    pavement = _mix((184, 178, 176), SNOW, 0.7 if scene.has_snow else 0)
    scene.add([_box(-2, 200, UNITS + 2, 218)], pavement, "grain", bottom=pavement * 0.94)
    road = _mix((112, 112, 122), SNOW, 0.3 if scene.has_snow else 0)
    number = scene.add([_box(-2, 216, UNITS + 2, UNITS + 2)], road, "grain", bottom=road * 0.9)
    first = dice.between(-30, 0)
    marks = [_box(left, 236, left + 24, 240) for left in np.arange(first, UNITS, 44)]
    scene.add(marks, WHITE, within=number)
    for x in np.arange(dice.between(10, 50), UNITS, dice.between(60, 90)):
        if dice.chance(0.5):
            _lamp(scene, x, 212, dice.between(58, 70))
        else:
            _round_tree(scene, x, 212, dice.between(44, 62))
    if dice.chance(0.6):
        _person(scene, dice.between(20, 236), 216, dice.between(38, 44))
    for _ in range(dice.whole(0, 2)):
        _car(scene, dice.between(30, 226), dice.between(234, 252), dice.between(28, 34))


def _forest_scene(scene):
    """Rows of trees that vanish in the haze, and a path between them."""
    dice = scene.dice
    horizon = dice.between(130, 150)
    _sky(scene, horizon)
    _hills(scene, horizon - 16, 1)
    paint_tree = dice.choice((_pine, _round_tree, _tree))
    _scatter(scene, paint_tree, dice.whole(7, 10), horizon, horizon + 12, (70, 100), depth=0.6)
    ground = _ground(scene, horizon + 10, 10)
    _flowers(scene, ground, 190)
    _path(scene, dice.between(96, 160), horizon + 16, dice.between(12, 26))
    _scatter(scene, paint_tree, dice.whole(4, 6), horizon + 20, horizon + 34, (90, 130), depth=0.3)
    for x in (dice.between(0, 70), dice.between(186, 256), dice.between(-10, 30)):
        paint_tree(scene, x, dice.between(204, 236), dice.between(140, 190), 0)
    if dice.chance(0.3):
        _person(scene, dice.between(100, 156), dice.between(214, 240), dice.between(50, 64))
    _scatter(scene, _bush, dice.whole(0, 3), 236, UNITS + 6, (18, 30))


def _beach_scene(scene):
    """A beach with palms or a parasol, and the sun above the sea."""
    dice = scene.dice
    horizon = dice.between(110, 136)
    _sky(scene, horizon, sun=False)
    if dice.chance(0.8):
        radius = dice.between(18, 30)
        _sun(scene, dice.between(60, 196), horizon - radius * dice.between(0, 1.6), radius)
    if dice.chance(0.4):
        island = _smooth(np.array([(20, horizon + 4), (50, horizon - 14), (84, horizon - 22),
                                   (110, horizon - 8), (140, horizon + 4)]))
        scene.add([island + (dice.between(-40, 130), 0)], dice.color(LEAVES["green"]), "leaves",
                  0.6)
    _water(scene, horizon, UNITS)
    side = dice.choice((-1, 1))  # of the palm
    _boat(scene, 128 - side * dice.between(0, 96), horizon + dice.between(20, 40),
          dice.between(34, 54))
    sand = _mix(dice.color([SAND]), SNOW, 0.6 if scene.has_snow else 0)
    shore = _ridge(scene, dice.between(184, 210), 30, 3)
    scene.add([shore - (0, 5)], _mix(WHITE, sand, 0.1), "water")
    scene.add([shore], sand, "grain", bottom=sand * 0.92, span=(190, UNITS))
    _palm(scene, 128 + side * dice.between(70, 100), dice.between(226, 246), dice.between(120, 160))
    if dice.chance(0.5):
        _parasol(scene, 128 - side * dice.between(10, 80), dice.between(230, 246),
                 dice.between(50, 66))
    else:
        _person(scene, 128 - side * dice.between(0, 80), dice.between(230, 250),
                dice.between(58, 74))


def _parasol(scene, x, y, size):
    color = scene.dice.color(BRIGHT[:6])
    scene.shadow(x, y, size * 1.2)
    scene.add([_box(x - 1.6, y - size, x + 1.6, y)], WOOD)
    shade = _smooth(_parse("-56,-70 -56,-70 -40,-96 0,-108 40,-96 56,-70 56,-70 0,-76"))
    number = scene.add([_place(shade, x, y, size)], color, shade="ball")
    stripe = _smooth(_parse("-18,-74 -18,-74 -14,-96 0,-106 14,-96 18,-74 18,-74"))
    scene.add([_place(stripe, x, y, size)], WHITE, shade="ball", within=number)
    towel = np.array([(x + 10, y - 4), (x + 50, y - 4), (x + 44, y + 6), (x + 2, y + 6)])
    scene.add([towel], scene.dice.color(BRIGHT))


def _meadow_scene(scene):
    """People, a cat or a snowman on a meadow."""
    dice = scene.dice
    horizon = dice.between(116, 146)
    _sky(scene, horizon)
    _hills(scene, horizon, dice.whole(1, 2))
    ground = _ground(scene, horizon + 4, 18)
    _flowers(scene, ground, horizon + 40)
    _scatter_trees(scene, dice.whole(1, 3), horizon + 14, horizon + 40)
    if dice.chance(0.4):
        _fence(scene, horizon + 46, 22)
    places = [dice.between(34, 80), dice.between(176, 222), dice.between(104, 152)]
    for x in places[:dice.whole(1, 3)]:
        y = dice.between(216, 246)
        if scene.has_snow and dice.chance(0.4):
            _snowman(scene, x, y, dice.between(70, 90))
        elif dice.chance(0.4):
            _cat(scene, x, y, dice.between(38, 54))
        else:
            _person(scene, x, y, dice.between(76, 100))


def _scatter(scene, element, count, top, bottom, sizes, depth=0):
    """Paints `count` elements at random places between `top` and `bottom`, the farthest first."""
    dice = scene.dice
    rows = np.sort(top + (bottom - top) * dice.random(count))
    for index, y in enumerate(rows):
        x = UNITS * ((index * 0.618 + 0.3 * dice.random()) % 1)  # apart from each other
        element(scene, x, y, dice.between(*sizes), depth)


def _scatter_trees(scene, count, top, bottom):
    """Paints trees that grow larger the nearer they are."""
    dice = scene.dice
    for y in np.sort(top + (bottom - top) * dice.random(count)):
        _tree(scene, dice.between(0, UNITS), y, dice.between(44, 60) + (y - 150) * 0.5)


KINDS = {
    "hills": _hill_scene,
    "mountains": _mountain_scene,
    "lake": _lake_scene,
    "sea": _sea_scene,
    "village": _village_scene,
    "house": _house_scene,
    "street": _street_scene,
    "forest": _forest_scene,
    "beach": _beach_scene,
    "meadow": _meadow_scene,
}


# ---- textures

def _noise(dice, width, height):
    """Returns smooth noise, int32 [TEXTURE_UNITS, TEXTURE_UNITS] in [-127, 128].

    Args:
        dice: a Dice.
        width: of a bump, in units.
        height: of a bump, in units.
    """
    shape = (int(TEXTURE_UNITS / height), int(TEXTURE_UNITS / width))
    bumps = Image.fromarray((dice.random(shape) * 256).astype("uint8"))
    smooth = bumps.resize((TEXTURE_UNITS, TEXTURE_UNITS), Image.Resampling.BICUBIC)
    return np.asarray(smooth).astype(int) - 127


def _rows_of_blocks(dice, width, height, joint):
    """Returns a wall of blocks, each of its own brightness, with joints of brightness `joint`."""
    y, x = np.mgrid[:TEXTURE_UNITS, :TEXTURE_UNITS]
    row = y // height
    x = x + row % 2 * (width // 2)  # every second row is moved
    tones = (dice.random((TEXTURE_UNITS, TEXTURE_UNITS)) * 150).astype(int) - 75
    blocks = tones[row, x // width]
    blocks[(y % height < 2) | (x % width < 2)] = joint
    return blocks


@functools.cache
def _textures(pixels):
    """Returns all textures, float32 [materials, side * side] in [-1, 1], and their side.

    Args:
        pixels: rows and columns of the map.
    """
    dice = Dice(0, 0)
    fine = _noise(dice, 3, 3)
    y, x = np.mgrid[:TEXTURE_UNITS, :TEXTURE_UNITS]
    painted = {
        "plain": fine,
        "grain": fine * 2 // 3 + _noise(dice, 24, 10) // 2,
        "grass": _noise(dice, 3, 8) // 2 + _noise(dice, 5, 12) // 2 + _noise(dice, 40, 16) // 3,
        "leaves": _noise(dice, 8, 8) * 3 // 4 + _noise(dice, 4, 4) // 2,
        "bricks": _rows_of_blocks(dice, 16, 8, 110),
        "planks": _rows_of_blocks(dice, 8, 192, -127) + fine // 4,
        "tiles": _rows_of_blocks(dice, 8, 8, -110) + fine // 4,
        "water": _noise(dice, 24, 4) * 3 // 4 + _noise(dice, 12, 3) // 2,
        "cloud": _noise(dice, 40, 24),
        "rock": _noise(dice, 10, 20) * 2 // 3 + _noise(dice, 5, 8) // 2,
        "bark": _noise(dice, 3, 24),
        "glass": np.where((x + y) % 48 < 16, 90, -20),
    }
    side = TEXTURE_UNITS * pixels // UNITS
    textures = []
    for name in MATERIALS:
        texture = Image.fromarray(np.clip(painted[name] + 127, 0, 255).astype("uint8"))
        texture = texture.resize((side, side), Image.Resampling.BICUBIC)
        textures.append((np.asarray(texture, "float32") - 127) / 128)
    return np.stack(textures).reshape(len(textures), -1), side


# ---- camera

@functools.cache
def _coordinates(pixels):
    """Returns x [1, pixels] and y [pixels, 1] of the middles of pixels, in units, float32."""
    middles = (np.arange(pixels, dtype="float32") + np.float32(0.5)) * np.float32(UNITS / pixels)
    return middles[None, :], middles[:, None]


def _photograph(scene, size):
    """Returns the photo of a scene, uint8 [size, size, 3]."""
    labels = np.asarray(scene.map).astype("intp")
    light, down = _light(scene, labels)
    light *= 1 + scene.column("strength")[labels] * _texture_of(scene, labels)
    light *= 1 - scene.column("shadow")[labels] * _shadows(scene)
    colors = scene.column("color_change")[labels]
    colors *= down[:, :, None]
    colors += scene.column("color")[labels]
    colors *= light[:, :, None]
    np.clip(colors, 0, 255, out=colors)
    large = Image.fromarray(colors.astype("uint8"))
    photo = large.resize((size, size), Image.Resampling.BILINEAR)  # blurs more than BOX
    photo = _soften(scene, photo, labels, size)
    return _develop(scene, photo, size)


def _light(scene, labels):
    """Returns the brightness of each pixel, and how far down in its region it is, in [-1, 1].

    Args:
        scene: a Scene.
        labels: intp [pixels, pixels], the regions.

    Returns:
        Two float32 [pixels, pixels].
    """
    x, y = _coordinates(len(labels))
    middles = scene.column("middle")
    halves = scene.column("half")
    shades = scene.column("shade")
    across = (x - middles[:, 0][labels]) / halves[:, 0][labels]
    down = (y - middles[:, 1][labels]) / halves[:, 1][labels]
    light = 1 + shades[:, 0][labels] * across
    light -= shades[:, 1][labels] * down
    light -= shades[:, 2][labels] * (across * across + down * down - 0.5)
    return light, down


def _texture_of(scene, labels):
    """Returns the texture of each pixel, float32 [pixels, pixels] in [-1, 1]."""
    textures, side = _textures(len(labels))
    left = int(scene.dice.random() * (side - len(labels)))
    top = int(scene.dice.random() * (side - len(labels)))
    rows = np.arange(top, top + len(labels))[:, None] * side
    columns = np.arange(left, left + len(labels))
    first = scene.column("material").astype("intp") * side * side
    return textures.ravel()[first[labels] + rows + columns]


def _shadows(scene):
    """Returns the shadows on the ground, float32 [pixels, pixels] from 0 to 1."""
    small = Image.new("L", (UNITS // 4, UNITS // 4))
    pen = ImageDraw.Draw(small)
    for box in scene.shadows:
        pen.ellipse([int(np.rint(edge / 4)) for edge in box], 255)
    small = small.filter(ImageFilter.BoxBlur(1))
    large = small.resize(scene.map.size, Image.Resampling.BILINEAR)
    return np.asarray(large, "float32") / np.float32(255)


def _soften(scene, photo, labels, size):
    """Blurs the edges of clouds and of the sun."""
    soft = (scene.column("soft") * 255).astype("uint8")
    if not soft.any():
        return photo
    mask = Image.fromarray(soft[labels]).resize((size, size), Image.Resampling.BOX)
    mask = mask.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.BoxBlur(1))
    blurred = photo.filter(ImageFilter.BoxBlur(1.5 * size / 64))
    return Image.composite(blurred, photo, mask)


def _develop(scene, photo, size):
    """Adds the glow around the sun, and grain. Returns uint8 [size, size, 3]."""
    dice = scene.dice
    colors = np.asarray(photo, "float32")
    if scene.glow:
        x, y = _coordinates(size)
        sun_x, sun_y, strength = np.float32(scene.glow)
        distance = ((x - sun_x) ** 2 + (y - sun_y) ** 2) / np.float32(30 ** 2)
        colors = colors + (strength / (1 + distance))[:, :, None] * np.float32((1, 0.9, 0.6))
    strength = np.float32(dice.between(5, 12))
    grain = dice.random((size, size, 3), "float32") + dice.random((size, size, 1), "float32") - 1
    return np.clip(np.rint(colors + grain * strength), 0, 255).astype("uint8")


# ---- drawing

def _draw(scene, size):
    """Returns the drawing of a scene, uint8 [size, size, 3]."""
    labels = np.asarray(scene.map)
    colors = np.array([_drawn(region["color"]) for region in scene.regions])
    pixels = colors[labels]
    pixels[_lines(scene, labels)] = LINE
    drawing = Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX)
    return np.asarray(drawing)


def _lines(scene, labels):
    """Returns where outlines are, bool [pixels, pixels]: close to another group of regions."""
    groups = scene.column("group").astype("uint8")[labels]
    half = max(int(LINE_WIDTH * scene.scale / 2), 1)
    width = 2 * half
    lines = np.zeros(labels.shape, bool)
    lines[half:-half] |= groups[width:] != groups[:-width]
    lines[:, half:-half] |= groups[:, width:] != groups[:, :-width]
    return lines
