"""Toy faces: an endless dataset of 64x64 anime-like faces whose factors are known exactly.

Real datasets don't tell which modes they have, so nobody can count the modes that a GAN dropped. Here every face is
one of 384 modes, hair colour x hair style x eye colour x mood, and all else (place, size, skin, clothes, light) is
small and random. Faces are painted at four times their size and then reduced, which gives smooth edges.
"""

import functools

import numpy as np
from PIL import Image, ImageDraw

HAIR_COLORS = {"red": (206, 46, 54), "blonde": (250, 208, 92), "green": (78, 184, 122), "blue": (60, 116, 224),
               "purple": (140, 80, 194), "pink": (250, 144, 182), "silver": (206, 214, 230), "black": (60, 54, 72)}
EYE_COLORS = {"blue": (34, 130, 250), "green": (36, 178, 70), "amber": (246, 158, 14), "violet": (178, 50, 232)}
FACTORS = {"hair_color": tuple(HAIR_COLORS), "hair_style": ("bob", "long", "twintails", "spiky"),
           "eye_color": tuple(EYE_COLORS), "mood": ("smile", "surprised", "sulky")}
SIZES = tuple(len(names) for names in FACTORS.values())
MODES = int(np.prod(SIZES))

NUISANCES = ("x", "y", "size", "skin", "blush", "sky", "clothes", "ribbon", "hair_red", "hair_green", "hair_blue",
             "hair_light", "parting", "pointing", "shine", "gaze", "glint_x", "glint_y", "flip")
DRAWS = 24  # random numbers per face, the factors' and the nuisances': Philox makes four at a time

CANVAS, MIDDLE, TOP = 296, 148, 20  # the painted square, and where in it x = 0 and y = 0 of the shapes below lie
WHITE, NIGHT, LASH, MOUTH, TONGUE = (255, 255, 255), (20, 10, 50), (52, 34, 46), (158, 44, 60), (244, 132, 132)
# The colours of ribbons, with white those of skies, with night those of clothes: anything between two neighbours.
WHEEL = np.array([(238, 62, 84), (250, 134, 60), (246, 206, 70), (104, 196, 96), (52, 186, 180), (74, 140, 236),
                  (150, 110, 236), (230, 96, 190), (238, 62, 84)])


def shape(text):
    """Reads points "x,y x,y ...", where "!" marks a sharp corner: a point given twice, which `smooth` leaves alone."""
    points = [[float(number) for number in word.rstrip("!").split(",")] for word in text.split()]
    return np.repeat(points, [1 + word.endswith("!") for word in text.split()], axis=0)


def smooth(points):
    """Rounds a closed polygon by cutting its corners, in steps which are exact on every machine."""
    for _ in range(2):
        following = np.roll(points, -1, axis=0)
        points = np.stack([points * 0.75 + following * 0.25, points * 0.25 + following * 0.75], 1).reshape(-1, 2)
    return points


def mirror(points):
    return points[::-1] * (-1, 1)


def place(points, origin=(MIDDLE, TOP)):
    """Turns points into the flat list of whole numbers that Pillow wants, on the canvas if not said otherwise."""
    return np.rint(points + origin).astype(int).ravel().tolist()


def whole(text):
    """Completes the right half of a shape with its mirror image."""
    return place(smooth(np.concatenate([shape(text), mirror(shape(text))])))


def pair(text):
    return [place(smooth(points)) for points in (shape(text), mirror(shape(text)))]


FACE = whole("0,50 44,56 64,90 65,136 63,162 48,184 20,198 4,202")
NECK, NECK_SHADOW = whole("17,176! 17,226! 0,236"), whole("0,190 22,190 18,207 0,214")
BODY, COLLAR = whole("0,222 20,216 58,228 86,242 96,300! 0,300"), pair("14,208! 44,224 46,232 28,254! 0,236!")
RIBBON = [*pair("0,238 10,230 32,226! 34,256! 12,248"), whole("0,231 6,232 7,244 0,246")]
BOWS = pair("78,74 66,50! 84,48 88,70 104,86! 92,98 80,84 66,92!")

BACK = {"bob": whole("0,18 44,22 78,50 92,100 98,158 94,192 72,210 44,206 0,204"),
        "long": whole("0,18 44,22 78,50 92,110 96,180 108,300! 0,300"),
        "twintails": whole("0,18 44,22 76,52 80,110 72,156 50,176 0,180"),
        "spiky": whole("0,18 44,22 80,54 84,130 76,176! 62,166 50,192! 36,180 0,180")}
TAILS = pair("72,74! 92,48 116,54 127,84 129,134 120,184 100,228! 102,196 92,176 86,196! 80,150 78,110")
# From the crown down the outside of the side lock, and up its inside to where the fringe begins.
LOCKS = {"bob": shape("0,16 44,20 80,48 94,98 96,150 88,186 64,206! 68,180 67,150 60,112!"),
         "long": shape("0,16 44,20 80,48 92,100 95,160 92,220 82,250! 74,220 69,176 60,112!"),
         "twintails": shape("0,16 44,20 78,48 84,90 79,130 69,180! 67,150 60,112!"),
         "spiky": shape("0,-2! 7,10 16,22! 34,8 62,8! 56,25! 78,25 100,38! 86,54! 104,61 118,82! 92,88! 106,106 "
                        "112,130! 88,120! 92,140 82,166! 70,146 60,112!")}
# The lower edge of the fringe, right to left: a face's fringe lies between an even, a parted and a pointed one.
FRINGES = [shape(text) for text in (
    "60,112 48,121! 36,113 29,99! 23,114 5,124! -3,113 -5,99! -10,113 -27,119! -33,110 -35,99! -43,115 -55,123!",
    "60,108 54,124! 46,110 38,94! 26,110 2,126! -1,112 -2,98! -12,114 -30,122! -31,112 -33,99! -44,117 -57,130!",
    "60,110 55,128! 46,112 36,96! 23,104 15,121! 8,110 0,98! -8,110 -15,121! -23,104 -36,96! -46,112 -55,128!")]
# Three layers which differ in the fringe alone: its shadow on the face, the hair with its dark tips, and the lit hair.
HAIR = {style: [np.stack([smooth(np.concatenate([lock, edge + (0, drop), mirror(lock)])) for edge in FRINGES])
                for drop in (6, 0, -7)] for style, lock in LOCKS.items()}
STRANDS = {"bob": pair("4,23! 20,32 28,46! 16,36") + pair("79,110! 86,140 76,174! 81,140"),
           "long": pair("4,23! 20,32 28,46! 16,36") + pair("79,110! 88,160 80,224! 83,160"),
           "twintails": pair("3,22! 40,30 71,68! 36,36") + pair("104,76! 120,112 107,190! 113,112"),
           "spiky": pair("16,22! 18,32 7,41! 13,31") + pair("56,25! 53,38 41,44! 48,34")}
SHINE = [smooth(shape("-60,70 -46,54 -22,46 10,46! 7,58! -4,53 -14,60! -20,54 -34,66! -42,61 -56,76!")),
         smooth(shape("18,47! 36,50 50,60! 48,68! 38,60 28,64! 24,58 16,58!"))]

# The right eye, from its centre; the moods differ in how far it is open.
OPENING = {"smile": "-17,8 -17,-12 -5,-24 11,-23 20,-10 19,8 12,22 -4,24 -14,18",
           "surprised": "-20,0 -17,-18 -5,-28 11,-27 21,-13 21,8 13,24 -5,26 -17,18",
           "sulky": "-17,8 -18,-6! 21,-8! 19,8 12,22 -4,24 -14,18"}
UPPER_LID = {"smile": "-22,-2 -18,-18 -5,-29 13,-28 25,-16 31,-17! 27,-2 21,4! 20,-8 11,-20 -4,-21 -15,-13",
             "surprised": "-24,-6 -19,-23 -5,-33 13,-32 25,-20 31,-21! 27,-6 22,0! 21,-12 12,-25 -4,-26 -17,-17",
             "sulky": "-24,0! -20,-10 0,-13 20,-15 34,-13! 27,-2 21,4! 19,-6 0,-5 -16,-3"}
LOWER_LID = "-10,23 4,26 14,22! 17,18! 14,25 4,29 -6,27"
EYE_X, EYE_Y, EYE_SIZE = 34, 142, 80  # where the eyes sit, and the side of their square pictures

BROWS = {"smile": pair("16,90 26,81 40,79 54,87! 40,87 28,89"),
         "surprised": pair("16,78 26,68 40,66 54,75! 40,74 28,76"),
         "sulky": pair("12,103 14,95 34,88 54,86! 54,92! 35,96")}
MOUTHS = {"smile": whole("0,179 17,175! 14,188 6,195"), "surprised": whole("0,175 9,177 10,186 7,194 2,196"),
          "sulky": whole("0,180 8,182 15,190! 12,191! 7,187 0,186")}
TONGUE_TIP = whole("0,186 7,188 5,192 0,193")


def mix(color, other, share):
    """Moves colours towards another and rounds them to whole numbers."""
    color = np.asarray(color, "float64")
    return np.rint(color + (np.asarray(other) - color) * share).astype(int)


def spin(position):
    """Colours [count, 3] of the wheel, at positions in [0, 1)."""
    step = position * (len(WHEEL) - 1)
    before = step.astype(int)
    return mix(WHEEL[before], WHEEL[before + 1], (step - before)[:, None])


def outlined(pen, points, fill, line, width=4):
    pen.polygon(points, fill)
    pen.line(points + points[:2], line, width)


def background(paint):
    rows = mix(paint["sky"], WHITE, np.linspace(0, 0.7, CANVAS)[:, None, None]).astype("uint8")
    return Image.fromarray(rows).resize((CANVAS, CANVAS), Image.Resampling.NEAREST)


def back_hair(pen, paint, style):
    outlined(pen, BACK[style], paint["hair_dark"], paint["hair_line"])
    for points in TAILS if style == "twintails" else ():
        outlined(pen, points, paint["hair"], paint["hair_line"])


def clothes(pen, paint):
    pen.polygon(NECK, paint["skin"])
    pen.polygon(NECK_SHADOW, paint["skin_dark"])
    outlined(pen, BODY, paint["clothes"], paint["clothes_line"])
    for points in COLLAR:
        outlined(pen, points, WHITE, paint["clothes_line"], 3)
    for points in RIBBON:
        outlined(pen, points, paint["ribbon"], paint["ribbon_line"], 3)


def face(pen, paint):
    outlined(pen, FACE, paint["skin"], paint["skin_line"])
    for x in (MIDDLE - 44, MIDDLE + 44):
        pen.ellipse((x - 15, TOP + 166, x + 15, TOP + 180), paint["blush_edge"])
        pen.ellipse((x - 10, TOP + 168, x + 10, TOP + 178), paint["blush"])
    pen.ellipse((MIDDLE - 2, TOP + 166, MIDDLE + 2, TOP + 169), paint["skin_line"])


def mouth(pen, mood):
    pen.polygon(MOUTHS[mood], MOUTH)
    if mood == "smile":
        pen.polygon(TONGUE_TIP, TONGUE)


@functools.cache
def eye(color, mood, gaze, side):
    """Paints an eye and the mask of what it covers, once for the many faces which share it."""
    middle, size, base = EYE_SIZE // 2, 0.8 if mood == "surprised" else 1, EYE_COLORS[color]
    columns, rows = np.meshgrid(np.arange(EYE_SIZE) - middle - gaze, np.arange(EYE_SIZE) - middle - 1)
    distance = (columns / (16 * size)) ** 2 + (rows / (23 * size)) ** 2  # from the middle of the iris, 1 at its rim
    height = np.clip(rows / 44 / size + 0.5, 0, 1)[:, :, None]
    picture = mix(mix(base, NIGHT, 0.3), mix(base, WHITE, 0.4), height)
    picture[distance > 0.8] = mix(base, NIGHT, 0.5)
    picture[(columns / 6) ** 2 + (rows / 10) ** 2 < size] = mix(base, NIGHT, 0.8)  # pupil
    picture[distance > 1] = WHITE
    picture[(distance > 1) & (rows < -10)] = (216, 216, 234)  # shadow of the lid
    picture = Image.fromarray(picture.astype("uint8"))
    mask = Image.new("1", picture.size)
    opening, *lids = (place(smooth(shape(text)) * (side, 1), middle)
                      for text in (OPENING[mood], UPPER_LID[mood], LOWER_LID))
    ImageDraw.Draw(mask).polygon(opening, 1)
    for points in lids:
        ImageDraw.Draw(mask).polygon(points, 1)
        ImageDraw.Draw(picture).polygon(points, LASH)
    return picture, mask


def eyes(canvas, pen, paint, color, mood):
    for side in (-1, 1):
        x, y = MIDDLE + side * EYE_X, TOP + EYE_Y
        picture, mask = eye(color, mood, paint["gaze"], side)
        canvas.paste(picture, (x - EYE_SIZE // 2, y - EYE_SIZE // 2), mask)
        x, y = x + paint["gaze"] + paint["glint_x"], y + paint["glint_y"] + (8 if mood == "sulky" else 0)
        pen.ellipse((x - 11, y - 17, x - 1, y - 5), WHITE)
        pen.ellipse((x + 4, y + 7, x + 9, y + 12), WHITE)


def fringe(pen, paint, style):
    shadow, hair, lit = (place((points * paint["fringe"]).sum(0)) for points in HAIR[style])
    pen.polygon(shadow, paint["skin_dark"])
    pen.polygon(hair, paint["hair_dark"])
    pen.polygon(lit, paint["hair"])
    pen.line(hair + hair[:2], paint["hair_line"], 4)
    for points in STRANDS[style]:
        pen.polygon(points, paint["hair_dark"])
    for points in SHINE:
        pen.polygon(place(points + (0, paint["shine"])), paint["hair_light"])
    for points in BOWS if style == "twintails" else ():
        outlined(pen, points, paint["ribbon"], paint["ribbon_line"], 3)


def brows(pen, paint, mood):
    for points in BROWS[mood]:
        pen.polygon(points, paint["hair_line"])


def chances(count, seed, start):
    """Draws the random numbers in [0, 1) of each face, which depend on nothing but the seed and the face's number."""
    for name, number in {"count": count, "seed": seed, "start": start}.items():
        if number != int(number) or number < 0:
            raise ValueError(f"`{name}` must be a whole number of at least 0. Received: {name}={number}")
    stream = np.random.Philox(key=int(seed))
    stream.advance(int(start) * DRAWS // 4)
    return np.random.Generator(stream).random((int(count), DRAWS))


def paints(hair, chance):
    """Yields, face by face, the colours, small numbers and shares of the fringes which its chances make."""
    jitter = np.stack([chance[name] + chance["hair_light"] for name in ("hair_red", "hair_green", "hair_blue")], 1)
    hair = np.clip(hair * (0.91 + 0.09 * jitter), 0, 255)
    skin = mix((255, 234, 216), (238, 192, 154), chance["skin"][:, None])
    blush = mix(skin, (250, 116, 116), 0.25 + 0.4 * chance["blush"][:, None])
    cloth, ribbon = mix(spin(chance["clothes"]), NIGHT, 0.4), spin(chance["ribbon"])
    colors = {"sky": mix(spin(chance["sky"]), WHITE, 0.6), "skin": skin, "skin_dark": mix(skin, (190, 90, 80), 0.3),
              "skin_line": mix(skin, (110, 40, 40), 0.6), "blush": blush, "blush_edge": mix(skin, blush, 0.5),
              "clothes": cloth, "clothes_line": cloth * 0.5, "ribbon": ribbon, "ribbon_line": ribbon * 0.5,
              "hair": hair, "hair_dark": hair * 0.76, "hair_line": hair * 0.42, "hair_light": mix(hair, WHITE, 0.42)}
    spans = {"shine": 10, "gaze": 4, "glint_x": 4, "glint_y": 4}
    parted, pointed = chance["parting"], chance["pointing"]
    columns = [map(tuple, np.rint(color).astype(int).tolist()) for color in colors.values()]
    columns += [np.rint((chance[name] - 0.5) * span).astype(int).tolist() for name, span in spans.items()]
    columns += [np.stack([(1 - parted) * (1 - pointed), parted * (1 - pointed), pointed], 1)[:, :, None, None]]
    return (dict(zip([*colors, *spans, "fringe"], column)) for column in zip(*columns))


def checked(factors):
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(SIZES) or factors.dtype.kind not in "iu":
        raise ValueError(f"`factors` must be whole numbers of shape [count, {len(SIZES)}]. "
                         f"Received: factors.shape={factors.shape}, factors.dtype={factors.dtype}")
    wrong = ((factors < 0) | (factors >= SIZES)).any(axis=1)
    if wrong.any():
        raise ValueError(f"`factors` must be in 0..n-1, n={SIZES}. Received: factors={factors[wrong][0].tolist()}")
    return factors


def sample(count, seed=0, start=0):
    """Paints faces `start` to `start + count - 1` of the endless sequence of a seed.

    A face depends on (seed, its number) alone, so parts made in any order and process make up the same whole.

    Returns:
        images uint8 [count, 64, 64, 3] and factors uint8 [count, 4], uniform and independent: indices into the
        names of `FACTORS`, a column each.
    """
    factors = (chances(count, seed, start)[:, :len(SIZES)] * SIZES).astype("uint8")
    return draw(factors, seed, start), factors


def draw(factors, seed=0, start=0):
    """Paints faces of given factors; all else is as random as in `sample`.

    Args:
        factors: whole numbers [count, 4], indices into the names of `FACTORS`, a column each.

    Returns:
        images uint8 [count, 64, 64, 3].
    """
    factors = checked(factors)
    chance = dict(zip(NUISANCES, chances(len(factors), seed, start)[:, len(SIZES):].T))
    hair = np.array(list(HAIR_COLORS.values()))[factors[:, 0]]
    x, y = (MIDDLE + 14 * (chance[name] - 0.5) for name in ("x", "y"))
    half = 128 * (0.97 + 0.12 * chance["size"])
    boxes = np.stack([x - half, y - half, x + half, y + half], 1).tolist()
    images = np.empty((len(factors), 64, 64, 3), "uint8")
    for image, row, paint, box in zip(images, factors.tolist(), paints(hair, chance), boxes):
        _, style, color, mood = (names[index] for names, index in zip(FACTORS.values(), row))
        canvas = background(paint)
        pen = ImageDraw.Draw(canvas)
        back_hair(pen, paint, style)
        clothes(pen, paint)
        face(pen, paint)
        mouth(pen, mood)
        eyes(canvas, pen, paint, color, mood)
        fringe(pen, paint, style)
        brows(pen, paint, mood)
        image[:] = canvas.resize((64, 64), Image.Resampling.BOX, box)
    flipped = chance["flip"] < 0.5
    images[flipped] = images[flipped, :, ::-1]
    return images


def mode(factors):
    """Numbers the modes 0..383 of factors [count, 4]: int64 [count]."""
    return np.ravel_multi_index(checked(factors).T, SIZES)


def factors_of(modes):
    """Gives the factors uint8 [count, 4] of modes [count] in 0..383: the inverse of `mode`."""
    modes = np.asarray(modes)
    if modes.ndim != 1 or modes.dtype.kind not in "iu" or ((modes < 0) | (modes >= MODES)).any():
        raise ValueError(f"`modes` must be whole numbers [count] in 0..{MODES - 1}. Received: modes={modes}")
    return np.stack(np.unravel_index(modes, SIZES), 1).astype("uint8")
