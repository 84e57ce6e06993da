"""Makes numbered sheets of faces of several folders, shuffled, to count defects without bias.

    python tests/bench/make_sheets.py sheets runs/small/generated/060000 my-faces

Takes the first 128 images of each folder. Whoever counts sees sheets/01.png and so on, but not
sheets/key.csv, which has the origin of each number.

A face is defective if
- an eye is missing, misplaced, or unlike the other one in color or size;
- a part of the face or the hair is torn, smeared, or of a color that does not belong there;
- mouth, nose or chin is out of place.
"""
import csv
import pathlib
import random
import sys

from PIL import Image, ImageDraw

COUNT = 128  # images of each folder
ROWS, COLUMNS = 4, 8
SIZE = 192  # pixels of a face on a sheet, three times its own
MARGIN = 16  # pixels above a face, for its number


def main(output, folders):
    """Writes the sheets and the key to the folder `output`."""
    paths = []
    for folder in folders:
        paths += sorted(pathlib.Path(folder).glob("[0-9]*.*"))[:COUNT]
    random.Random(0).shuffle(paths)
    output = pathlib.Path(output)
    output.mkdir(parents=True)
    with open(output / "key.csv", "w", newline="") as file:
        csv.writer(file).writerows(enumerate(paths))
    per_sheet = ROWS * COLUMNS
    for first in range(0, len(paths), per_sheet):
        sheet = make_sheet(paths[first:first + per_sheet], first)
        sheet.save(output / f"{first // per_sheet + 1:02d}.png")


def make_sheet(paths, first_number):
    """Returns a sheet of the images in `paths`, numbered from `first_number` on."""
    sheet = Image.new("RGB", (COLUMNS * SIZE, ROWS * (SIZE + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, path in enumerate(paths):
        row, column = divmod(index, COLUMNS)
        left, top = column * SIZE, row * (SIZE + MARGIN)
        with Image.open(path) as image:
            sheet.paste(image.convert("RGB").resize((SIZE, SIZE)), (left, top + MARGIN))
        draw.text((left + 4, top + 2), str(first_number + index), fill="black")
    return sheet


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
