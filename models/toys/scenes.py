"""Toy scenes: an endless dataset of landscapes, each as a photo and as a drawing, painted by code.

Real photos have no true drawings, so nobody can measure how well a network turns one into the
other. Here a scene is a map of regions, such as a roof or a cloud, and is shown twice: as a photo,
with light, texture, haze, blur and grain in pale colors, and as a drawing, in flat strong colors
with dark outlines. A region's color in the drawing follows from its color in the photo.

Regions are painted from the back to the front, on a square of 256 units whatever the size of the
image: x grows to the right, y downwards.
"""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

UNITS = 256          # width and height of a scene
OVERSAMPLING = 3     # images are reduced from maps of three times their size
LINE_WIDTH = 4       # of outlines, in units
LINE = (38, 32, 48)  # the color of outlines

# {time: colors of the sky above, of the sky at the horizon, of the sea, of the light}
TIMES = {
    "day": ((70, 146, 224), (190, 224, 244), (50, 128, 186), (255, 252, 242)),
    "morning": ((160, 160, 224), (255, 214, 204), (112, 132, 196), (255, 234, 226)),
    "sunset": ((224, 140, 140), (255, 216, 142), (124, 110, 168), (255, 218, 184)),
    "night": ((36, 46, 104), (128, 112, 168), (44, 64, 128), (150, 154, 206)),
}
# {season: colors of leaves, color of the ground}
SEASONS = {
    "spring": ([(240, 166, 190), (104, 166, 74), (250, 196, 208)], (134, 180, 84)),
    "summer": ([(74, 142, 64), (104, 166, 74), (52, 118, 74)], (116, 168, 72)),
    "autumn": ([(214, 126, 48), (196, 76, 48), (228, 176, 62)], (170, 168, 84)),
    "winter": ([(206, 220, 228), (182, 202, 208), (222, 232, 238)], (238, 244, 250)),
}
WALLS = [(244, 226, 190), (236, 190, 158), (238, 238, 228), (190, 212, 222), (226, 150, 124),
         (250, 214, 122), (180, 206, 168)]
ROOFS = [(190, 74, 54), (150, 66, 66), (84, 98, 130), (120, 86, 70), (70, 120, 120)]
ROCKS = [(112, 116, 134), (138, 122, 116)]
BRIGHT = [(222, 62, 62), (248, 196, 60), (54, 118, 200), (240, 128, 56), (232, 112, 156)]
WHITE = (250, 250, 248)
SNOW = (238, 244, 250)
WOOD = (126, 90, 64)
NEEDLES = (42, 104, 76)
GLASS = (96, 128, 158)
LAMPLIGHT = (255, 220, 120)

# {texture: width and height of its bumps in units, and how much brighter or darker they are}
TEXTURES = {
    "plain": (3, 3, 0.08),
    "sky": (60, 24, 0.08),
    "snow": (12, 6, 0.12),
    "grass": (4, 10, 0.24),
    "leaves": (7, 7, 0.4),
    "wood": (5, 40, 0.25),
    "rock": (9, 18, 0.3),
    "tiles": (14, 5, 0.25),
    "water": (26, 4, 0.22),
}


def sample(count, seed=0, start=0, size=64):
    """Paints scenes number `start` to `start + count - 1` of the endless sequence of a seed.

    A scene depends on the seed and its number alone, so parts of the sequence may be made in any
    order and by any process.

    Args:
        count: int, the number of scenes.
        seed: int, at least 0.
        start: int, the number of the first scene.
        size: int, at least 22. A scene is the same at any size, apart from the photo's grain.

    Returns:
        photos and drawings of the same scenes, both uint8 [count, size, size, 3].
    """
    photos = np.empty((count, size, size, 3), "uint8")
    drawings = np.empty((count, size, size, 3), "uint8")
    for index in range(count):
        scene = Scene(seed, start + index, size)
        paint = scene.random.choice(KINDS)
        paint(scene)
        photos[index] = scene.photo()
        drawings[index] = scene.drawing()
    return photos, drawings


class Scene:
    """A map of regions, and how each of them looks."""

    def __init__(self, seed, number, size):
        # Each scene has 2 ** 64 random numbers of its own.
        self.random = np.random.Generator(np.random.Philox(key=seed, counter=number << 64))
        self.size = size
        self.side = self.random.choice((-1, 1))  # of the sun or moon: left or right
        self.sun = 128 + self.side * self.random.uniform(20, 110), self.random.uniform(24, 70)
        self.time = self.random.choice(list(TIMES), p=[0.4, 0.2, 0.2, 0.2])
        self.season = self.random.choice(list(SEASONS))
        self.leaves, ground = SEASONS[self.season]
        self.ground = self.vary([ground])
        self.sky_above, self.sky_below, self.sea, self.light = [
            self.vary([color]) for color in TIMES[self.time]]

        # Pixels of the maps are numbers of regions. Some regions are not in the drawing, and some
        # have no outlines there, so there are three maps.
        self.regions = []
        self.pixels = size * OVERSAMPLING
        self.photo_map, self.drawing_map, self.lines_map = [
            Image.new("L", (self.pixels, self.pixels)) for _ in range(3)]

    def vary(self, colors):
        """Returns one of several colors, changed a little: float64 [3]."""
        return np.clip(self.random.choice(colors) + self.random.uniform(-12, 12, 3), 0, 255)

    def add(self, color, *outlines, bottom=None, texture="plain", shade=0.0, depth=0.0,
            glows=False, drawn=True, lines=True):
        """Paints a region over what is there.

        Args:
            color: its color in white light and nearby; at the top, if `bottom` is set.
            *outlines: polygons in units, [points, 2] each.
            bottom: the color at the bottom, if it differs.
            texture: a name of TEXTURES.
            shade: how much brighter it is on the side of the sun.
            depth: how far away it is, from 0 to 1: haze hides most of what is far away.
            glows: whether light and haze do not change its color.
            drawn: whether it is in the drawing.
            lines: whether it has outlines in the drawing.
        """
        top = self._in_photo(color, depth, glows)
        bottom = top if bottom is None else self._in_photo(bottom, depth, glows)
        points = np.concatenate(outlines)
        self.regions.append({
            "color": top,
            "change": bottom - top,
            "corner": points.min(axis=0),
            "extent": np.ptp(points, axis=0),
            "shade": shade,
            "texture": list(TEXTURES).index(texture),
            "strength": TEXTURES[texture][2] * (1 - 0.7 * depth),
        })
        maps = [self.photo_map]
        if drawn:
            maps.append(self.drawing_map)
        if drawn and lines:
            maps.append(self.lines_map)
        for outline in outlines:
            pixels = np.rint(np.asarray(outline) * self.pixels / UNITS).astype(int)
            for image in maps:
                pen = ImageDraw.Draw(image)
                pen.polygon(pixels.ravel().tolist(), len(self.regions) - 1)

    def _in_photo(self, color, depth, glows):
        """Returns the pale color that a region has in the photo, before texture and shade."""
        color = np.asarray(color, "float64")
        if not glows:
            color = mix(color * self.light / 255, self.sky_below, 0.75 * depth)
        return mix(color, color.mean(), 0.16)

    def photo(self):
        """Returns the photo, uint8 [size, size, 3]."""
        numbers = np.asarray(self.photo_map)
        look = {}  # {key of the regions: its value at each pixel, float32 [pixels, pixels, ...]}
        for key in self.regions[0]:
            look[key] = np.float32([region[key] for region in self.regions])[numbers]
        middles = np.float32((np.arange(self.pixels) + 0.5) * UNITS / self.pixels)
        places = np.stack(np.meshgrid(middles, middles), axis=-1)
        places = (places - look["corner"]) / look["extent"]  # in each region from 0 to 1
        across, down = places[..., 0], places[..., 1]

        colors = look["color"] + look["change"] * down[..., None]
        light = 1 + look["shade"] * (self.side * (across - 0.5) - (down - 0.5))
        texture = np.choose(look["texture"].astype(int), self._textures())
        light += look["strength"] * (texture / np.float32(127.5) - 1)
        colors = np.clip(colors * light[..., None], 0, 255)
        # Reduced with some blur, and with more in the sky.
        photo = Image.fromarray(np.uint8(colors)).resize((self.size, self.size),
                                                         Image.Resampling.BILINEAR)
        is_sky = np.uint8(255 * (look["texture"] == list(TEXTURES).index("sky")))
        sky = Image.fromarray(is_sky).resize(photo.size, Image.Resampling.BOX)
        blurred = photo.filter(ImageFilter.GaussianBlur(1.2 * self.size / 64))
        colors = np.float32(Image.composite(blurred, photo, sky))

        # The glow around the sun, and grain.
        middles = (np.arange(self.size) + 0.5) * UNITS / self.size
        x, y = np.meshgrid(middles - self.sun[0], middles - self.sun[1])
        glow = 60 / (1 + (x ** 2 + y ** 2) / 30 ** 2)
        colors += glow[..., None] * (1, 0.9, 0.6)
        colors += self.random.normal(0, self.random.uniform(2, 5), colors.shape)
        return np.uint8(np.clip(np.rint(colors), 0, 255))

    def _textures(self):
        """Returns smooth noise for each of TEXTURES, a list of uint8 [pixels, pixels]."""
        textures = []
        for width, height, _ in TEXTURES.values():
            bumps = self.random.integers(256, size=(UNITS // height, UNITS // width))
            textures.append(np.asarray(Image.fromarray(np.uint8(bumps)).resize(
                (self.pixels, self.pixels), Image.Resampling.BICUBIC)))
        return textures

    def drawing(self):
        """Returns the drawing, uint8 [size, size, 3]."""
        colors = [in_drawing(region["color"] + region["change"] / 2) for region in self.regions]
        pixels = np.array(colors)[np.asarray(self.drawing_map)]
        # A pixel belongs to an outline if the pixels on both sides of it are of different regions.
        numbers = np.asarray(self.lines_map)
        width = LINE_WIDTH * self.pixels // UNITS
        middle = slice(width // 2, width // 2 - width)
        pixels[middle][numbers[width:] != numbers[:-width]] = LINE
        pixels[:, middle][numbers[:, width:] != numbers[:, :-width]] = LINE
        image = Image.fromarray(pixels).resize((self.size, self.size), Image.Resampling.BOX)
        return np.asarray(image)


# ---- colors in [0, 255], and outlines [points, 2]

def mix(color, other, share):
    """Moves a color towards another color by a share."""
    return color + (np.asarray(other) - color) * share


def in_drawing(color):
    """Returns the color in the drawing, uint8 [3], of a region with a color in the photo.

    Its brightness, the largest channel, becomes one of six levels. Saturation grows by a half.
    """
    brightness = color.max()
    level = np.clip(np.rint(brightness / 39), 1, 6) * 42.5
    return np.uint8(np.clip(level - 1.5 * (brightness - color) * level / brightness, 0, 255))


def box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def disc(x, y, radius, radius_y=None):
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + (radius_y or radius) * np.sin(angles)], 1)


def shape(text, x, y, size, side=1):
    """Returns the outline of a thing at x, y, mirrored if `side` is -1.

    The text, "x,y x,y ...", holds the points relative to the foot, in percent of `size`.
    """
    points = np.array([point.split(",") for point in text.split()], "float64")
    return points * (side * size / 100, size / 100) + (x, y)


def land(scene, y, height):
    """Returns the outline of land with a wavy upper edge around `y`."""
    x = np.linspace(-8, UNITS + 8, 34)
    long, short = scene.random.uniform((140, 50), (300, 90))  # the lengths of two waves
    start = scene.random.uniform(0, 2 * np.pi)
    waves = 0.7 * np.sin(x * 2 * np.pi / long + start) + 0.3 * np.sin(x * 2 * np.pi / short)
    edge = np.stack([x, y + height / 2 * waves], axis=1)
    return np.concatenate([edge, [(UNITS + 8, UNITS + 8), (-8, UNITS + 8)]])


# ---- things

def add_sky(scene, horizon):
    """Paints the sky with the sun or moon, clouds, and stars at night."""
    random = scene.random
    is_night = scene.time == "night"
    scene.add(scene.sky_above, box(0, 0, UNITS, horizon), bottom=scene.sky_below, texture="sky",
              glows=True)
    if is_night:
        places = random.uniform(0, (UNITS, 0.8 * horizon), (12, 2))
        scene.add((255, 250, 220), *[disc(x, y, 2) for x, y in places], glows=True, lines=False)
    scene.add((255, 246, 190), disc(*scene.sun, random.uniform(12, 19)), texture="sky", glows=True)
    for _ in range(random.integers(4)):
        x, y = random.uniform((0, 16), (UNITS, 0.6 * horizon))
        size = random.uniform(20, 44)
        puffs = [disc(x + size * part, y - size * 0.2, size * random.uniform(0.3, 0.5))
                 for part in (-0.5, 0, 0.5)]
        scene.add(mix(scene.sky_below, WHITE, 0.3 if is_night else 0.8), *puffs,
                  disc(x, y, size, size * 0.2), bottom=mix(scene.sky_below, scene.sky_above, 0.3),
                  texture="sky", shade=0.2, glows=True)


def add_hills(scene, horizon):
    for depth in (0.75, 0.5):
        scene.add(scene.vary(scene.leaves), land(scene, horizon + 8 - 40 * depth, 28),
                  texture="leaves", depth=depth)


def add_mountain(scene, x, y, size, depth):
    """Paints a mountain with a dark side, and snow on its top."""
    rock = scene.vary(ROCKS)
    scene.add(rock, shape("0,-100 18,-76 44,-46 84,0 -84,0 -40,-50 -20,-80", x, y, size),
              texture="rock", shade=0.2, depth=depth)
    dark = "0,-100 18,-76 44,-46 84,0 10,0 16,-30 -6,-62"
    scene.add(rock * 0.78, shape(dark, x, y, size, -scene.side), texture="rock", depth=depth,
              lines=False)
    snow = "0,-100 18,-76 32,-60 20,-66 8,-52 -2,-66 -14,-54 -22,-66 -31,-64 -20,-80"
    scene.add(SNOW, shape(snow, x, y, size), texture="snow", shade=0.2, depth=depth * 0.6)


def add_water(scene, y):
    """Paints water below `y`, with waves and the glitter of the sun or moon."""
    random = scene.random
    far = mix(scene.sea, scene.sky_below, 0.4)
    scene.add(far, box(0, y, UNITS, UNITS), bottom=scene.sea, texture="water", glows=True)
    waves = [disc(*random.uniform((0, y), UNITS), random.uniform(8, 24), 1.6) for _ in range(6)]
    for row in np.arange(y + 4, UNITS, 8):
        waves.append(disc(scene.sun[0] + random.uniform(-4, 4), row, random.uniform(6, 18), 2))
    scene.add(mix(far, WHITE, 0.5), *waves, glows=True, lines=False)


def add_ground(scene, y, height):
    scene.add(mix(scene.ground, scene.sky_below, 0.2), land(scene, y, height),
              bottom=scene.ground * 0.9, texture="snow" if scene.season == "winter" else "grass")


def add_shadow(scene, x, y, width):
    """Paints the shadow of a thing that stands at x, y on the ground, in the photo only."""
    scene.add(scene.ground * 0.65, disc(x - scene.side * width / 3, y, width / 2, width / 8),
              drawn=False)


def add_tree(scene, x, y, size):
    """Paints a pine, or a tree with a round crown."""
    random = scene.random
    add_shadow(scene, x, y, size * 0.7)
    scene.add(WOOD, box(x - size * 0.05, y - size * 0.4, x + size * 0.05, y), texture="wood",
              shade=0.4)
    if random.random() < 0.4:
        pine = "0,-100 17,-68 9,-70 26,-40 14,-43 34,-10 -34,-10 -14,-43 -26,-40 -9,-70 -17,-68"
        scene.add(scene.vary([NEEDLES]), shape(pine, x, y, size), texture="leaves", shade=0.4)
        if scene.season == "winter":
            snow = "0,-100 17,-68 10,-73 4,-66 -3,-74 -9,-67 -17,-68"
            scene.add(SNOW, shape(snow, x, y, size), texture="snow", lines=False)
    else:
        crown = [disc(x, y - size * 0.74, size * 0.26)]
        for part in (-0.2, 0.2):
            crown.append(disc(x + size * part, y - size * random.uniform(0.5, 0.65),
                              size * random.uniform(0.18, 0.26)))
        scene.add(scene.vary(scene.leaves), *crown, texture="leaves", shade=0.5)


def add_house(scene, x, y, width, height):
    """Paints a house whose walls are `height` high. Its windows are lit at night."""
    random = scene.random
    left, right, top = x - width / 2, x + width / 2, y - height
    rise = random.uniform(0.35, 0.5) * width  # of the roof
    chimney = x + random.choice((-1, 1)) * width * 0.28
    scene.add(ROOFS[0], box(chimney - 5, top - rise, chimney + 5, top), texture="tiles")
    scene.add(scene.vary(WALLS), box(left, top, right, y), shade=0.2,
              texture=random.choice(("plain", "tiles", "wood")))
    inset = random.choice((0.5, 0.15)) * width  # a gable, or the long side of a roof
    scene.add(mix(scene.vary(ROOFS), SNOW, 0.75 if scene.season == "winter" else 0),
              [(left - 5, top + 1), (left + inset, top - rise), (right - inset, top - rise),
               (right + 5, top + 1)], texture="tiles", shade=0.3)
    windows = []
    for row in np.arange(top + 15, y - 12, 26):
        for column in (x - 0.3 * width, x + 0.3 * width):
            windows.append(box(column - 6, row - 7, column + 6, row + 7))
    is_lit = scene.time == "night"
    scene.add(LAMPLIGHT if is_lit else GLASS, *windows, shade=0.3, glows=is_lit)
    scene.add(scene.vary([WOOD, *BRIGHT]), box(x - 6, y - 22, x + 6, y), texture="wood")


def add_boat(scene, x, y, size):
    side = scene.random.choice((-1, 1))
    scene.add(WOOD, box(x - 1, y - size, x + 2, y - size * 0.2))
    for sail in "-3,-100 -3,-24 -42,-24 -20,-60", "6,-92 6,-24 36,-24":
        scene.add(scene.vary([WHITE, *BRIGHT]), shape(sail, x, y, size, side), shade=0.3)
    scene.add(scene.vary([WOOD, *BRIGHT]), shape("-46,-18 48,-18 32,0 -32,0", x, y, size, side),
              texture="wood", shade=0.3)


def add_lighthouse(scene, x, y, size):
    """Paints a lighthouse with two stripes, on a rock."""
    scene.add(scene.vary(ROCKS), shape("-70,25 -54,8 -30,-3 20,-5 50,6 74,25", x, y, size),
              texture="rock", shade=0.4)
    scene.add(WHITE, shape("-13,0 13,0 8,-78 -8,-78", x, y, size), shade=0.3)
    color = scene.vary([BRIGHT[0], BRIGHT[2]])
    scene.add(color, shape("-12,-12 12,-12 11,-28 -11,-28", x, y, size),
              shape("-10,-44 10,-44 9,-60 -9,-60", x, y, size), shade=0.3, lines=False)
    scene.add(LAMPLIGHT, shape("-7,-78 7,-78 7,-90 -7,-90", x, y, size), glows=True)
    scene.add(color, shape("-11,-89 11,-89 0,-104", x, y, size))


def add_car(scene, x, y, size):
    side = scene.random.choice((-1, 1))
    scene.add(GLASS, shape("-60,-54 -42,-100 30,-100 60,-54", x, y, size, side), shade=0.3)
    body = "-96,-14 -92,-52 -60,-58 60,-58 98,-46 98,-14"
    scene.add(scene.vary(BRIGHT), shape(body, x, y, size, side), shade=0.3)
    wheels = [disc(x + size * part, y - size * 0.16, size * 0.2) for part in (-0.54, 0.54)]
    scene.add((52, 50, 58), *wheels)


# ---- kinds of scenes

def meadow(scene):
    """A house among trees on a meadow, before hills."""
    random = scene.random
    horizon = random.uniform(110, 140)
    add_sky(scene, horizon)
    add_hills(scene, horizon)
    add_ground(scene, horizon + 4, 14)
    x, y = random.uniform((70, 170), (186, 200))
    for side in (-1, 1):
        add_tree(scene, x + side * random.uniform(46, 90), y - 10, random.uniform(60, 100))
    end = random.uniform(60, 196)
    scene.add((206, 184, 146), [(x - 7, y), (x + 7, y), (end + 22, UNITS), (end - 22, UNITS)],
              texture="snow")  # a path
    add_shadow(scene, x, y, 100)
    add_house(scene, x, y, random.uniform(60, 90), random.uniform(34, 40))
    if scene.season != "winter":
        flowers = [disc(*random.uniform((0, y + 8), UNITS), 2.5) for _ in range(16)]
        scene.add(scene.vary([WHITE, *BRIGHT]), *flowers, lines=False)
    if random.random() < 0.6:
        beside = (x + random.uniform(70, 186)) % UNITS
        add_tree(scene, beside, random.uniform(236, 250), random.uniform(70, 120))


def sea(scene):
    """Boats and a lighthouse on the sea."""
    random = scene.random
    horizon = random.uniform(90, 140)
    add_sky(scene, horizon)
    if random.random() < 0.5:
        add_hills(scene, horizon)
    add_water(scene, horizon)
    add_lighthouse(scene, 128 - scene.side * random.uniform(40, 90), random.uniform(170, 210),
                   random.uniform(90, 120))
    for y in sorted(random.uniform(horizon + 30, 240, random.integers(1, 4))):
        add_boat(scene, 128 + scene.side * random.uniform(-20, 100), y, 24 + 0.4 * (y - horizon))


def mountains(scene):
    """Mountains behind a lake, and trees on its near shore."""
    random = scene.random
    horizon = random.uniform(130, 160)
    add_sky(scene, horizon)
    for depth, left, right in (0.5, 20, 110), (0.4, 150, 240), (0.25, 80, 180):
        add_mountain(scene, random.uniform(left, right), horizon + 4, random.uniform(70, 120),
                     depth)
    add_water(scene, horizon)
    if random.random() < 0.5:
        add_boat(scene, random.uniform(30, 226), horizon + 30, 32)
    add_ground(scene, random.uniform(190, 215), 20)
    for y in sorted(random.uniform(215, 250, random.integers(2, 6))):
        add_tree(scene, random.uniform(0, UNITS), y, random.uniform(60, 100))


def street(scene):
    """A row of houses along a street, with trees and perhaps a car."""
    random = scene.random
    add_sky(scene, 150)
    scene.ground = scene.vary([(196, 188, 176)])  # the pavement
    x = random.uniform(-30, 0)
    while x < UNITS:
        width = random.uniform(52, 76)
        add_house(scene, x + width / 2, 204, width, random.choice((36, 62, 88)))
        x += width
    scene.add(scene.ground, box(0, 203, UNITS, 220))
    scene.add((122, 120, 128), box(0, 218, UNITS, UNITS), texture="snow")
    marks = [box(left, 236, left + 22, 240) for left in range(8, UNITS, 44)]
    scene.add(WHITE, *marks, lines=False)
    for x in random.uniform((10, 140), (116, 246)):
        add_tree(scene, x, 216, random.uniform(50, 70))
    if random.random() < 0.7:
        add_car(scene, random.uniform(40, 216), random.uniform(236, 250), 28)


KINDS = (meadow, sea, mountains, street)
