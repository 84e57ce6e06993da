"""Toy faces: an endless dataset of 64x64 anime-like faces with known factors, painted by code.

The modes of real datasets are unknown, so nobody can count how many a GAN dropped. Toy faces have
384 modes: hair color x hair style x eye color x mood. Everything else (position, size, skin,
clothes, light) varies a little at random. Faces are painted at about four times their size, then
reduced, which makes edges smooth.

Shapes are closed outlines, written as "x,y x,y ...": x grows to the right from the middle of the
face, y grows downwards from the top. Corners are rounded, except for points marked with "!".
"""
import functools

import numpy as np
from PIL import Image, ImageDraw

HAIR_COLORS = {
    "red": (206, 46, 54),
    "blonde": (250, 208, 92),
    "green": (78, 184, 122),
    "blue": (60, 116, 224),
    "purple": (140, 80, 194),
    "pink": (250, 144, 182),
    "silver": (206, 214, 230),
    "black": (60, 54, 72),
}
EYE_COLORS = {
    "blue": (34, 130, 250),
    "green": (36, 178, 70),
    "amber": (246, 158, 14),
    "violet": (178, 50, 232),
}
# {factor: names of its values}. Factors of a face are indices into these names.
FACTORS = {
    "hair_color": tuple(HAIR_COLORS),
    "hair_style": ("bob", "long", "twintails", "spiky"),
    "eye_color": tuple(EYE_COLORS),
    "mood": ("smile", "surprised", "sulky"),
}
SIZES = tuple(len(names) for names in FACTORS.values())  # the number of values of each factor

# Everything else that varies, each by a random number in [0, 1).
VARIATIONS = (
    "x", "y", "size", "skin", "blush", "sky", "clothes", "ribbon",
    "hair_red", "hair_green", "hair_blue", "hair_light", "parting", "pointing", "shine",
    "gaze", "glint_x", "glint_y", "flip")
RANDOM_NUMBERS = 24  # per face; Philox generates four at a time

IMAGE_SIZE = 64
CANVAS_SIZE = 296  # rows and columns of the square that is painted
MIDDLE, TOP = 148, 20  # where on the canvas x = 0 and y = 0 of the shapes lie

WHITE = (255, 255, 255)
NIGHT = (20, 10, 50)
LASHES = (52, 34, 46)
MOUTH = (158, 44, 60)
TONGUE = (244, 132, 132)
# The hues of ribbons, clothes and skies, which may also lie between two neighbors.
COLOR_WHEEL = np.array([
    (238, 62, 84), (250, 134, 60), (246, 206, 70), (104, 196, 96), (52, 186, 180), (74, 140, 236),
    (150, 110, 236), (230, 96, 190), (238, 62, 84)])


# ---- shapes

def _parse(text):
    """Returns the points of a shape, float64 [count, 2]. Sharp corners appear twice."""
    points = []
    for word in text.split():
        x, y = word.rstrip("!").split(",")
        points.append((float(x), float(y)))
        if word.endswith("!"):
            points.append(points[-1])  # `_smooth` cannot cut a corner of no length
    return np.array(points)


def _smooth(points):
    """Rounds a closed polygon by cutting its corners, in steps that are exact on every machine."""
    for _ in range(2):
        following = np.roll(points, -1, axis=0)
        cuts = points * 0.75 + following * 0.25, points * 0.25 + following * 0.75
        points = np.stack(cuts, axis=1).reshape(-1, 2)
    return points


def _mirror(points):
    """Mirrors points left to right, and reverses their order."""
    return points[::-1] * (-1, 1)


def _to_pixels(points, origin=(MIDDLE, TOP)):
    """Returns points as Pillow takes them: a flat list of whole numbers, moved by `origin`."""
    return np.rint(points + origin).astype(int).ravel().tolist()


def _symmetric(text):
    """Returns the pixels of a shape, whose right half the text describes."""
    right = _parse(text)
    return _to_pixels(_smooth(np.concatenate([right, _mirror(right)])))


def _pair(text):
    """Returns the pixels of a shape and of its mirror image, in a list."""
    right = _parse(text)
    return [_to_pixels(_smooth(right)), _to_pixels(_smooth(_mirror(right)))]


FACE = _symmetric("0,50 44,56 64,90 65,136 63,162 48,184 20,198 4,202")
NECK = _symmetric("17,176! 17,226! 0,236")
NECK_SHADOW = _symmetric("0,190 22,190 18,207 0,214")
BODY = _symmetric("0,222 20,216 58,228 86,242 96,300! 0,300")
COLLAR = _pair("14,208! 44,224 46,232 28,254! 0,236!")
RIBBON = _pair("0,238 10,230 32,226! 34,256! 12,248") + [_symmetric("0,231 6,232 7,244 0,246")]
BOWS = _pair("78,74 66,50! 84,48 88,70 104,86! 92,98 80,84 66,92!")

# Hair behind the face.
BACK_HAIR = {
    "bob": _symmetric("0,18 44,22 78,50 92,100 98,158 94,192 72,210 44,206 0,204"),
    "long": _symmetric("0,18 44,22 78,50 92,110 96,180 108,300! 0,300"),
    "twintails": _symmetric("0,18 44,22 76,52 80,110 72,156 50,176 0,180"),
    "spiky": _symmetric("0,18 44,22 80,54 84,130 76,176! 62,166 50,192! 36,180 0,180"),
}
TAILS = _pair(
    "72,74! 92,48 116,54 127,84 129,134 120,184 100,228! 102,196 92,176 86,196! 80,150 78,110")

# The right side of the hair in front of the face: from the crown down the outside of a lock, and up
# its inside to where the fringe begins.
LOCKS = {
    "bob": _parse("0,16 44,20 80,48 94,98 96,150 88,186 64,206! 68,180 67,150 60,112!"),
    "long": _parse("0,16 44,20 80,48 92,100 95,160 92,220 82,250! 74,220 69,176 60,112!"),
    "twintails": _parse("0,16 44,20 78,48 84,90 79,130 69,180! 67,150 60,112!"),
    "spiky": _parse(
        "0,-2! 7,10 16,22! 34,8 62,8! 56,25! 78,25 100,38! 86,54! 104,61 118,82! 92,88! 106,106 "
        "112,130! 88,120! 92,140 82,166! 70,146 60,112!"),
}
# The lower edge of the fringe, from right to left: even, parted and pointed. A face has a weighted
# mean of the three.
FRINGES = [
    _parse("60,112 48,121! 36,113 29,99! 23,114 5,124! -3,113 -5,99! -10,113 -27,119! -33,110 "
           "-35,99! -43,115 -55,123!"),
    _parse("60,108 54,124! 46,110 38,94! 26,110 2,126! -1,112 -2,98! -12,114 -30,122! -31,112 "
           "-33,99! -44,117 -57,130!"),
    _parse("60,110 55,128! 46,112 36,96! 23,104 15,121! 8,110 0,98! -8,110 -15,121! -23,104 "
           "-36,96! -46,112 -55,128!"),
]
STRANDS = {
    "bob": _pair("4,23! 20,32 28,46! 16,36") + _pair("79,110! 86,140 76,174! 81,140"),
    "long": _pair("4,23! 20,32 28,46! 16,36") + _pair("79,110! 88,160 80,224! 83,160"),
    "twintails": _pair("3,22! 40,30 71,68! 36,36") + _pair("104,76! 120,112 107,190! 113,112"),
    "spiky": _pair("16,22! 18,32 7,41! 13,31") + _pair("56,25! 53,38 41,44! 48,34"),
}
SHINE = [
    _smooth(_parse("-60,70 -46,54 -22,46 10,46! 7,58! -4,53 -14,60! -20,54 -34,66! -42,61 "
                   "-56,76!")),
    _smooth(_parse("18,47! 36,50 50,60! 48,68! 38,60 28,64! 24,58 16,58!")),
]

# The right eye, relative to its center. Moods differ in how far it is open.
EYE_OPENING = {
    "smile": _parse("-17,8 -17,-12 -5,-24 11,-23 20,-10 19,8 12,22 -4,24 -14,18"),
    "surprised": _parse("-20,0 -17,-18 -5,-28 11,-27 21,-13 21,8 13,24 -5,26 -17,18"),
    "sulky": _parse("-17,8 -18,-6! 21,-8! 19,8 12,22 -4,24 -14,18"),
}
UPPER_LID = {
    "smile": _parse(
        "-22,-2 -18,-18 -5,-29 13,-28 25,-16 31,-17! 27,-2 21,4! 20,-8 11,-20 -4,-21 -15,-13"),
    "surprised": _parse(
        "-24,-6 -19,-23 -5,-33 13,-32 25,-20 31,-21! 27,-6 22,0! 21,-12 12,-25 -4,-26 -17,-17"),
    "sulky": _parse("-24,0! -20,-10 0,-13 20,-15 34,-13! 27,-2 21,4! 19,-6 0,-5 -16,-3"),
}
LOWER_LID = _parse("-10,23 4,26 14,22! 17,18! 14,25 4,29 -6,27")
EYE_X = 34  # distance of the centers of the eyes from the middle of the face
EYE_Y = 142
EYE_SIZE = 80  # rows and columns of the picture of an eye

BROWS = {
    "smile": _pair("16,90 26,81 40,79 54,87! 40,87 28,89"),
    "surprised": _pair("16,78 26,68 40,66 54,75! 40,74 28,76"),
    "sulky": _pair("12,103 14,95 34,88 54,86! 54,92! 35,96"),
}
MOUTHS = {
    "smile": _symmetric("0,179 17,175! 14,188 6,195"),
    "surprised": _symmetric("0,175 9,177 10,186 7,194 2,196"),
    "sulky": _symmetric("0,180 8,182 15,190! 12,191! 7,187 0,186"),
}
TONGUE_TIP = _symmetric("0,186 7,188 5,192 0,193")


# ---- faces

def sample(count, seed=0, start=0):
    """Paints faces number `start` to `start + count - 1` of the endless sequence of a seed.

    A face depends on the seed and its number alone, so parts of the sequence may be made in any
    order and by any process.

    Args:
        count: int, the number of faces.
        seed: int, at least 0.
        start: int, the number of the first face.

    Returns:
        images uint8 [count, 64, 64, 3], and factors uint8 [count, 4], indices into the names of
        `FACTORS`, uniform and independent of each other.
    """
    generator = np.random.Philox(key=seed)
    generator.advance(start * RANDOM_NUMBERS // 4)
    numbers = np.random.Generator(generator).random((count, RANDOM_NUMBERS))
    factors = (numbers[:, :len(SIZES)] * SIZES).astype("uint8")
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), "uint8")
    for index in range(count):
        variations = dict(zip(VARIATIONS, numbers[index, len(SIZES):]))
        images[index] = _paint(factors[index], variations)
    return images, factors


def _paint(factors, variations):
    """Paints a face, from the back to the front.

    Args:
        factors: int [4], indices into the names of `FACTORS`.
        variations: {name of VARIATIONS: float in [0, 1)}.

    Returns:
        uint8 [64, 64, 3].
    """
    hair_color, style, eye_color, mood = [
        names[index] for names, index in zip(FACTORS.values(), factors)]
    colors = _colors(hair_color, variations)

    whiteness = np.linspace(0, 0.7, CANVAS_SIZE)[:, None, None]
    sky = Image.fromarray(_mix(colors["sky"], WHITE, whiteness).astype("uint8"))
    canvas = sky.resize((CANVAS_SIZE, CANVAS_SIZE), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)

    def outlined(points, name, line, width=4):
        pen.polygon(points, colors[name])
        pen.line(points + points[:2], colors[line], width)

    outlined(BACK_HAIR[style], "hair_dark", "hair_line")
    if style == "twintails":
        for points in TAILS:
            outlined(points, "hair", "hair_line")
    pen.polygon(NECK, colors["skin"])
    pen.polygon(NECK_SHADOW, colors["skin_dark"])
    outlined(BODY, "clothes", "clothes_line")
    for points in COLLAR:
        outlined(points, "white", "clothes_line", width=3)
    for points in RIBBON:
        outlined(points, "ribbon", "ribbon_line", width=3)

    outlined(FACE, "skin", "skin_line")
    for x in (MIDDLE - 44, MIDDLE + 44):
        pen.ellipse((x - 15, TOP + 166, x + 15, TOP + 180), colors["blush_edge"])
        pen.ellipse((x - 10, TOP + 168, x + 10, TOP + 178), colors["blush"])
    pen.ellipse((MIDDLE - 2, TOP + 166, MIDDLE + 2, TOP + 169), colors["skin_line"])  # the nose
    pen.polygon(MOUTHS[mood], MOUTH)
    if mood == "smile":
        pen.polygon(TONGUE_TIP, TONGUE)
    _paint_eyes(canvas, pen, eye_color, mood, variations)

    hair = _front_hair(style, 0, variations)
    pen.polygon(_front_hair(style, 6, variations), colors["skin_dark"])  # its shadow on the face
    pen.polygon(hair, colors["hair_dark"])
    pen.polygon(_front_hair(style, -7, variations), colors["hair"])  # the part in the light
    pen.line(hair + hair[:2], colors["hair_line"], 4)
    for points in STRANDS[style]:
        pen.polygon(points, colors["hair_dark"])
    for points in SHINE:
        moved = points + (0, _offset(variations["shine"], 10))
        pen.polygon(_to_pixels(moved), colors["hair_light"])
    if style == "twintails":
        for points in BOWS:
            outlined(points, "ribbon", "ribbon_line", width=3)
    for points in BROWS[mood]:
        pen.polygon(points, colors["hair_line"])

    # The square of the canvas that becomes the image.
    x = MIDDLE + 14 * (variations["x"] - 0.5)
    y = MIDDLE + 14 * (variations["y"] - 0.5)
    half = 128 * (0.97 + 0.12 * variations["size"])
    box = (x - half, y - half, x + half, y + half)
    image = np.asarray(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX, box))
    return image[:, ::-1] if variations["flip"] < 0.5 else image


def _paint_eyes(canvas, pen, color, mood, variations):
    gaze = _offset(variations["gaze"], 4)
    for side in (-1, 1):
        x = MIDDLE + side * EYE_X
        y = TOP + EYE_Y
        picture, mask = _eye(color, mood, gaze, side)
        canvas.paste(picture, (x - EYE_SIZE // 2, y - EYE_SIZE // 2), mask)
        # Two glints, below the lids.
        x += gaze + _offset(variations["glint_x"], 4)
        y += _offset(variations["glint_y"], 4)
        if mood == "sulky":
            y += 8
        pen.ellipse((x - 11, y - 17, x - 1, y - 5), WHITE)
        pen.ellipse((x + 4, y + 7, x + 9, y + 12), WHITE)


@functools.cache
def _eye(color, mood, gaze, side):
    """Returns a picture of an eye and its mask, which many faces share.

    Args:
        color: a name of EYE_COLORS.
        mood: a mood.
        gaze: by how many pixels the iris is moved to the right.
        side: 1 for the right eye, -1 for the left one.
    """
    base = EYE_COLORS[color]
    middle = EYE_SIZE // 2
    iris_size = 0.8 if mood == "surprised" else 1
    columns, rows = np.meshgrid(
        np.arange(EYE_SIZE) - middle - gaze, np.arange(EYE_SIZE) - middle - 1)
    # Squared distance from the middle of the iris, 1 at its edge.
    distance = (columns / (16 * iris_size)) ** 2 + (rows / (23 * iris_size)) ** 2
    pupil = (columns / 6) ** 2 + (rows / 10) ** 2 < iris_size
    height = np.clip(rows / 44 / iris_size + 0.5, 0, 1)[:, :, None]
    pixels = _mix(_mix(base, NIGHT, 0.3), _mix(base, WHITE, 0.4), height)
    pixels[distance > 0.8] = _mix(base, NIGHT, 0.5)
    pixels[pupil] = _mix(base, NIGHT, 0.8)
    pixels[distance > 1] = WHITE
    pixels[(distance > 1) & (rows < -10)] = (216, 216, 234)  # the lid's shadow

    picture = Image.fromarray(pixels.astype("uint8"))
    mask = Image.new("1", picture.size)
    opening = _smooth(EYE_OPENING[mood]) * (side, 1)
    ImageDraw.Draw(mask).polygon(_to_pixels(opening, middle), 1)
    for lid in (UPPER_LID[mood], LOWER_LID):
        points = _to_pixels(_smooth(lid) * (side, 1), middle)
        ImageDraw.Draw(mask).polygon(points, 1)
        ImageDraw.Draw(picture).polygon(points, LASHES)
    return picture, mask


def _front_hair(style, drop, variations):
    """Returns the pixels of the hair in front of the face, its fringe moved down by `drop`."""
    parted = variations["parting"]
    pointed = variations["pointing"]
    weights = (1 - parted) * (1 - pointed), parted * (1 - pointed), pointed
    outlines = _fringed_outlines(style, drop)
    return _to_pixels(sum(weight * outline for weight, outline in zip(weights, outlines)))


@functools.cache
def _fringed_outlines(style, drop):
    """Returns the outlines of the hair in front of the face with each of the FRINGES."""
    lock = LOCKS[style]
    return [_smooth(np.concatenate([lock, fringe + (0, drop), _mirror(lock)]))
            for fringe in FRINGES]


# ---- colors and offsets

def _colors(hair_color, variations):
    """Returns the colors of a face, {name: (red, green, blue)}."""
    brightness = np.array([variations[name] for name in ("hair_red", "hair_green", "hair_blue")])
    brightness += variations["hair_light"]
    hair = np.clip(HAIR_COLORS[hair_color] * (0.91 + 0.09 * brightness), 0, 255)
    skin = _mix((255, 234, 216), (238, 192, 154), variations["skin"])
    blush = _mix(skin, (250, 116, 116), 0.25 + 0.4 * variations["blush"])
    clothes = _mix(_hue(variations["clothes"]), NIGHT, 0.4)
    ribbon = _hue(variations["ribbon"])
    colors = {
        "white": WHITE,
        "sky": _mix(_hue(variations["sky"]), WHITE, 0.6),
        "skin": skin,
        "skin_dark": _mix(skin, (190, 90, 80), 0.3),
        "skin_line": _mix(skin, (110, 40, 40), 0.6),
        "blush": blush,
        "blush_edge": _mix(skin, blush, 0.5),
        "clothes": clothes,
        "clothes_line": clothes * 0.5,
        "ribbon": ribbon,
        "ribbon_line": ribbon * 0.5,
        "hair": hair,
        "hair_dark": hair * 0.76,
        "hair_line": hair * 0.42,
        "hair_light": _mix(hair, WHITE, 0.42),
    }
    return {name: tuple(np.rint(color).astype(int).tolist()) for name, color in colors.items()}


def _mix(color, other, share):
    """Moves a color towards another color by a share, and rounds it to whole numbers."""
    color = np.asarray(color, "float64")
    return np.rint(color + (np.asarray(other) - color) * share).astype(int)


def _hue(position):
    """Returns the color at a position in [0, 1) of the color wheel."""
    step = position * (len(COLOR_WHEEL) - 1)
    before = int(step)
    return _mix(COLOR_WHEEL[before], COLOR_WHEEL[before + 1], step - before)


def _offset(variation, size):
    """Returns a number of pixels, from -`size` / 2 to `size` / 2."""
    return round((variation - 0.5) * size)
