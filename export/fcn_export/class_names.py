"""Class names of the data sets that FCNs are trained on, in label order, and the palette of each."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import ExportError

VOC = (
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, "
    "motorbike, person, potted plant, sheep, sofa, train, tv monitor"
)
CITYSCAPES = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, "
    "rider, car, truck, bus, train, motorcycle, bicycle"
)
CAMVID = "sky, building, pole, road, pavement, tree, sign symbol, fence, car, pedestrian, bicyclist"
ADE20K = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, "
    "door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, "
    "field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, "
    "signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, "
    "stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee "
    "table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, "
    "boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, "
    "television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, "
    "buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, "
    "barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, "
    "pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, "
    "ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag"
)
BINARY = "background, foreground"
NAMED = {
    "voc": VOC.split(", "),
    "cityscapes": CITYSCAPES.split(", "),
    "cityscapes-unlabelled-first": [
        "unlabelled",
        *CITYSCAPES.split(", "),
    ],  # pochih trains 20 classes, 0 being unlabelled
    "camvid": CAMVID.split(", "),
    "ade20k": ADE20K.split(", "),
    "binary": BINARY.split(", "),
}
PALETTES = {
    "binary": "voc",
    "voc": "voc",
    "cityscapes": "cityscapes",
    "camvid": "camvid",
}  # the others get generated colours


def class_names(source: str | None, count: int) -> list[str]:
    """Names for `count` classes.

    Args:
        source: a name in `NAMED`, a text file with one name a line, a JSON file of names by index or indices by
            name, or None for "class 0", "class 1", ...

    Raises:
        ExportError: the file cannot be read, or it names another number of classes.
    """
    if source is None:
        return [f"class {index}" for index in range(count)]
    names = NAMED[source] if source in NAMED else _names(Path(source))
    if len(names) != count:
        raise ExportError(f"--classes {source}: {len(names)} names, but the checkpoint has {count} classes")
    return names


def palette(option: str | None, classes: str | None, count: int) -> str | list[list[int]]:
    """The palette to record: a name the runtime knows, or (count, 3) RGB values 0 to 255 from a file.

    Args:
        option: "voc", "cityscapes", "camvid", "generated", a file of "R G B" lines, or None to follow `classes`.

    Raises:
        ExportError: the file cannot be read, or holds another number of colours or other values.
    """
    if option is None:
        return PALETTES.get(classes or "", "generated")
    if option in ("voc", "generated"):  # rules that go on for any number of classes
        return option
    if option in PALETTES.values():
        _check_colours(option, len(NAMED[option]), count, spare=True)
        return option
    lines = _lines(Path(option))
    numbers = 4 if lines and len(lines[0].split()) == 4 else 3  # an alpha, if every line has one
    colours = [_colour(option, line, numbers) for line in lines]
    _check_colours(option, len(colours), count, spare=False)
    return colours


def _check_colours(option: str, found: int, count: int, spare: bool) -> None:
    if found < count or (found > count and not spare):
        raise ExportError(f"--palette {option}: {found} colours, but the checkpoint has {count} classes")


def _colour(path: str, line: str, numbers: int) -> list[int]:
    values = [int(word) if word.isdecimal() else -1 for word in line.split()]
    if len(values) != numbers or not all(0 <= value <= 255 for value in values):
        raise ExportError(f"--palette {path}: expected lines of three numbers 0 to 255, or all of four, got {line!r}")
    return values[:3]


def _names(path: Path) -> list[str]:
    lines = _lines(path)
    return _json_names(path, "\n".join(lines)) if lines and lines[0][0] in "{[" else lines


def _json_names(path: Path, text: str) -> list[str]:
    """Names in the order of their indices: of a list, of {"road": 0, ...}, or of {"0": "road", ...}."""
    expected = 'expected JSON such as ["road", "sky"], {"road": 0, "sky": 1} or {"0": "road", "1": "sky"}'
    try:
        content = json.loads(text)
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        by_index = dict((int(key), name) if isinstance(name, str) else (name, key) for key, name in pairs)
        names = [by_index[index] for index in range(len(by_index))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ExportError(f"--classes {path}: {expected}, with indices from 0 on") from error
    if not all(isinstance(name, str) and name for name in names) or len(names) != len(content):
        raise ExportError(f"--classes {path}: {expected}, each name and index once")
    return names


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(NAMED)
        raise ExportError(f"{path}: neither a readable text file nor one of {known} ({error})") from error
    return [line.strip() for line in lines if line.strip()]
