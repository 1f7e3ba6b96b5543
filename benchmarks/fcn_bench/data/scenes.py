"""Generated street scenes with exact labels: something to train on and to show where no data set is.

A small world of flat shapes in metres (x right, y up from the ground, z ahead) is painted from far to near, colour and
class of each by the same call, through a pinhole camera. Light, texture, blur and noise then change the picture alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fcnrt.contract.types import Array, UInt8Array

CLASSES = ("sky", "building", "road", "pavement", "grass", "tree", "car", "person", "sign", "pole")
SKY, BUILDING, ROAD, PAVEMENT, GRASS, TREE, CAR, PERSON, SIGN, POLE = range(len(CLASSES))
FRAME_RATE = 15.0

Picture = tuple[UInt8Array, UInt8Array]
Rng = np.random.Generator

_NEAR_M, _SIGHT_M, _FAR_M, _HAZE_M, _TILE_PX_PER_M = 0.6, 100.0, 600.0, 300.0, 24.0
_FINE_BITS = 4  # of polygon corners: without them slow things would move in steps of a pixel


def _rgb(colours: str) -> UInt8Array:
    """Colours in hexadecimal to (count, 3) RGB."""
    return np.frombuffer(bytes.fromhex(colours), dtype=np.uint8).reshape(-1, 3)


PALETTE = _rgb("4682b4 5a5050 804080 f423e8 98fb98 508c23 0000be dc143c e6dc00 aaaaa0")
_WALLS = _rgb("b06c54 c4b296 96928c d0c8bc 8a5c4e baa06e")
_PAINTS = _rgb("be1e1e 1e3c96 e1e1e1 28282d 82878c c8aa32 286446")
_CLOTHES = _rgb("aa2832 283c78 3c3c3e d2cdbe 5a8250 dc9628")
_SKINS = _rgb("e6bea0 be8c69 78503a")
_BOARD_PAINTS = _rgb("c81e23 1e46b4 ebc828 147846")
_WHITE, _GLASS, _RUBBER, _METAL, _BARK, _LEAF = _rgb("e1e1e1 303a44 1a1a1a 606264 544232 486c30")
_LAWN, _SLABS, _JOINT, _KERB, _ASPHALT, _SHADOW, _TILES = _rgb("607a3e 9e9892 7a7a7a b6b4ae 5c5c60 3c3c40 684a42")
_WARM, _HEADLAMP, _TAIL_LAMP = _rgb("facd78 faf5d7 c81919")
# Clear, overcast, dusk: zenith and haze, then tint and share of lit windows.
_WEATHER = (("467dc8 d7e1eb", (1, 1, 1), 0), ("a5acb4 c3c6c8", (1, 1, 1), 0), ("2a458c eba578", (0.8, 0.7, 0.6), 0.5))
_TEXTURE = np.float32([0, 0, 0.06, 0.06, 0.16, 0, 0, 0, 0, 0])  # how strongly it shows in each class


def _flat(outlines: Any) -> Array:
    """Outlines (..., 2) that face the camera, as polygons (..., 3) at z = 0."""
    return np.insert(np.asarray(outlines, dtype=float), 2, 0.0, axis=-1)


def _crown(rng: Rng) -> tuple[Array, Array]:
    """Blobs (7, 1, 24, 3) round a tree's (0, 0, 0), and on them dark leaves below bright ones (2, 28, 6, 3)."""
    middles = rng.uniform(-0.75, 0.75, (7, 1, 2))
    blobs = middles + _CIRCLE * rng.uniform(0.6, 1.0, (7, 1, 1)) * rng.uniform(0.85, 1.15, (7, 24, 1))
    spots = middles[:, 0] + rng.uniform(-0.5, 0.5, (2, 4, 7, 2)) + [[[(0, -0.25)]], [[(0, 0.2)]]]
    leaves = spots.reshape(2, 28, 1, 2) + _CIRCLE[::4] * rng.uniform(0.04, 0.15, (2, 28, 1, 1))
    return _flat(blobs[:, None]), _flat(leaves)


_CIRCLE = np.stack([np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)], axis=1)
_BOARDS = [_flat([_CIRCLE[first::step]]) for first, step in ((6, 8), (2, 8), (3, 6), (0, 1))]  # every 8th: a triangle
_RNG = np.random.default_rng(7)
_TILE = np.float32(sum(cv2.resize(_RNG.normal(0, n**-0.3, (n, n)), (256, 256)) for n in (4, 16, 64, 256)))
_CROWNS = [_crown(_RNG) for _ in range(40)]
# A person whose height is 1: colours and outlines.
_PERSON = (
    ("legs", _flat([[(x * s, y) for x, y in ((0, 0.5), (0.09, 0.5), (0.11, 0), (0.04, 0))] for s in (-1, 1)])),
    ("coat", _flat([[(-0.11, 0.46), (0.11, 0.46), (0.16, 0.5), (0.14, 0.78), (0, 0.86), (-0.14, 0.78), (-0.16, 0.5)]])),
    ("skin", _flat([_CIRCLE * (0.058, 0.075) + (0, 0.92)])),
    ("hair", _flat([_CIRCLE[:13] * (0.064, 0.08) + (0, 0.925)])),
)
# A car whose half width, height and length are 1, the end that the camera sees at z = 0: colours and corners.
_WHEEL = np.stack([np.full(24, 1.0), 0.2 + 0.2 * _CIRCLE[:, 1], 0.17 + 0.08 * _CIRCLE[:, 0]], axis=1)
_CAR_COLOURS = {"rubber": _RUBBER, "glass": _GLASS, "plate": _WHITE}
_CAR = (
    ("rubber", [[(-0.95, 0.08, 0), (0.95, 0.08, 0), (0.95, 0.4, 0), (-0.95, 0.4, 0)]]),
    ("flank", [[(1, 0.24, 0), (1, 0.24, 1), (1, 0.62, 1), (1, 0.62, 0)]]),
    ("roof", [[(-1, 0.62, 0), (1, 0.62, 0), (1, 0.62, 1), (-1, 0.62, 1)]]),
    ("flank", [[(0.95, 0.62, 0.12), (0.95, 0.62, 0.8), (0.78, 1, 0.7), (0.78, 1, 0.2)]]),
    ("glass", [[(0.95, 0.64, 0.2), (0.95, 0.64, 0.76), (0.82, 0.93, 0.68), (0.82, 0.93, 0.26)]]),
    ("roof", [[(-0.95, 0.62, 0.12), (0.95, 0.62, 0.12), (0.78, 1, 0.2), (-0.78, 1, 0.2)]]),
    ("glass", [[(-0.85, 0.64, 0.13), (0.85, 0.64, 0.13), (0.68, 0.93, 0.19), (-0.68, 0.93, 0.19)]]),
    ("rubber", [_WHEEL, _WHEEL + np.array((0, 0, 0.65))]),
    ("end", [[(-1, 0.24, 0), (1, 0.24, 0), (1, 0.62, 0), (-1, 0.62, 0)]]),
    ("lamps", [[(s * 0.6, 0.44, 0), (s * 0.95, 0.44, 0), (s * 0.95, 0.57, 0), (s * 0.6, 0.57, 0)] for s in (-1, 1)]),
    ("plate", [[(-0.28, 0.3, 0), (0.28, 0.3, 0), (0.28, 0.38, 0), (-0.28, 0.38, 0)]]),
)


class Shape(NamedTuple):
    """Polygons (k, corners, 3) of one RGB colour and one class; where two of them overlap, both leave a hole."""

    polygons: Array
    colour: Any
    label: int


class Thing(NamedTuple):
    """Shapes around (x, 0, z), where they are at time 0; speed in metres per second."""

    x: float
    z: float
    shapes: list[Shape]
    length: float = 0.0
    speed_z: float = 0.0


class Light(NamedTuple):
    """Weather: colours as RGB in 0..255, tint of the whole picture, share of lit windows, cloudiness."""

    zenith: Array
    haze: Array
    tint: Array
    lit: float
    clouds: float


class Camera(NamedTuple):
    """A pinhole camera that looks along z; its place in metres."""

    height: int
    width: int
    focal_px: float
    centre_px: float
    horizon_px: float
    x: float
    y: float
    z: float = 0.0


def scene(rng: Rng, height: int, width: int) -> Picture:
    """Draw one street.

    Args:
        rng: where all choices come from; the same state gives the same scene.
        height, width: of the frame in pixels.

    Returns:
        frame_hwc (height, width, 3) uint8 RGB, and labels_hw (height, width) uint8, indices of `CLASSES`.
    """
    return next(drive(rng, 1, height, width))


def drive(rng: Rng, frames: int, height: int, width: int) -> Iterator[Picture]:
    """Drive along one street at `FRAME_RATE` frames per second, among traffic and people that move.

    Args:
        rng, height, width: as for `scene`.
        frames: number of frames.

    Yields:
        frame and labels, as `scene` returns them.
    """
    light, speed = _light(rng), rng.uniform(6.0, 9.0)
    focal, centre, horizon, x, y = rng.uniform((0.75, 0.42, 0.38, 1.2, 1.3), (1.05, 0.58, 0.52, 2.2, 2.1)).tolist()
    camera = Camera(height, width, focal * max(width, height), centre * width, horizon * height, x, y)
    things = _street(rng, light, _SIGHT_M + frames / FRAME_RATE * speed, speed)
    for seconds in np.arange(frames) / FRAME_RATE:
        yield _photograph(rng, light, things, camera._replace(z=seconds * speed), seconds)


def _photograph(rng: Rng, light: Light, things: list[Thing], camera: Camera, seconds: float) -> Picture:
    """Paint the street as it is at a time, then expose it."""
    sky_hwc, noise_hw = _backdrop(camera, light)
    # Colour and class share one picture: a shape cannot cover other pixels in the labels than in the frame.
    canvas = cv2.merge([sky_hwc, np.full(noise_hw.shape, SKY, np.uint8)])  # (H, W, 4)
    now = [thing._replace(z=thing.z + thing.speed_z * seconds - camera.z) for thing in things]
    seen = [thing for thing in now if thing.z < _SIGHT_M and thing.z + thing.length > 1.2]
    # Ground, then houses: whatever else there is stands before their fronts, or in a gap between two.
    seen.sort(key=lambda thing: ({GRASS: 0, BUILDING: 1}.get(thing.shapes[0].label, 2), -thing.z))
    _paint(canvas, camera, light, seen)
    return _expose(rng, canvas, noise_hw, light), canvas[..., 3].copy()


def _paint(canvas: UInt8Array, camera: Camera, light: Light, things: list[Thing]) -> None:
    """Paint things in their order, farther shapes hazier; all corners are projected in one go."""
    placed = [(shape, np.array((thing.x, 0, thing.z))) for thing in things for shape in thing.shapes]
    corners = [(shape.polygons + place).reshape(-1, 3) for shape, place in placed]
    clear = np.exp([-max(each[0, 2], 0) / _HAZE_M for each in corners])[:, None]
    hazy = np.clip(light.haze + ([shape.colour for shape, _ in placed] - light.haze) * clear, 0, 255).tolist()
    outlines = np.split(_project(camera, np.concatenate(corners)), np.cumsum([len(each) for each in corners])[:-1])
    for (shape, _), colour, outline in zip(placed, hazy, outlines, strict=True):
        polygons = list(outline.reshape(*shape.polygons.shape[:2], 2))
        cv2.fillPoly(canvas, polygons, (*colour, shape.label), shift=_FINE_BITS)


def _project(camera: Camera, points: Array) -> npt.NDArray[np.int32]:
    """Metres (n, 3), z from the camera on, to 16ths of a pixel (n, 2); what lies behind moves to just before it."""
    scale = camera.focal_px / np.maximum(points[:, 2:], _NEAR_M)
    pixels = (points[:, :2] - (camera.x, camera.y)) * (1, -1) * scale + (camera.centre_px, camera.horizon_px)
    return np.rint(np.clip(pixels, -20000, 20000) * (1 << _FINE_BITS)).astype(np.int32)


def _light(rng: Rng) -> Light:
    colours, tint, lit = _WEATHER[rng.choice(3, p=(0.5, 0.3, 0.2))]
    warmth = rng.uniform(0.75, 1.2) + rng.uniform(-0.06, 0.06) * np.array((1, 0, -1))
    return Light(*_rgb(colours).astype(float), np.float32(tint * warmth), lit, rng.uniform(0.1, 0.9))


def _street(rng: Rng, light: Light, length_m: float, lane_speed: float) -> list[Thing]:
    """Ground, as wide to the left as to the right, and all that stands or moves on it."""
    parking = rng.random() < 0.7
    kerb = (5.9 if parking else 3.7) + rng.uniform(-0.3, 0.3)
    front = kerb + rng.uniform(2.6, 5.0)
    things = [_ground(rng, kerb, front, length_m)]
    # One speed per lane, so that no car runs into another.
    things += [_car(rng, 1.75, z, lane_speed * 1.1) for z in _places(rng, length_m, 8, 45)]
    things += [_car(rng, -1.75, z, -lane_speed) for z in _places(rng, 2 * length_m, 8, 30)]
    for side in (-1, 1):
        things += [_car(rng, side * (kerb - 1.05), z) for z in _places(rng, length_m * parking, 6, 8)]
        things += _pavement(rng, side, kerb, front, length_m)
        things += _plots(rng, light, side, front + rng.choice((0.0, 2.5)), length_m)
    return things


def _pavement(rng: Rng, side: int, kerb: float, front: float, length_m: float) -> list[Thing]:
    edge, planted, lit = side * (kerb + 0.5), rng.random() < 0.5, rng.random() < 0.6
    things = [_tree(rng, edge, z, rng.uniform(4, 7)) for z in _places(rng, length_m * planted, 12, 2)]
    things += [_lamp(edge, z) for z in _places(rng, length_m * lit, 24, 0)]
    things += [_sign(rng, edge, z) for z in _places(rng, length_m, 8, 16)]
    return things + [_person(rng, side * rng.uniform(kerb + 0.9, front), z) for z in 3 + _places(rng, length_m, 1, 10)]


def _plots(rng: Rng, light: Light, side: int, front: float, length_m: float) -> list[Thing]:
    """A park, or houses that may overlap, with trees in the gaps between them."""
    park = rng.random() < 0.2
    houses = [_house(rng, light, side, side * front, z) for z in _places(rng, length_m * (not park), 9, 5) - 14]
    spots = _places(rng, length_m, 4 if park else 9, 4)
    return houses + [_tree(rng, side * (front + rng.uniform(0.5, 12)), z, rng.uniform(5, 12)) for z in spots]


def _places(rng: Rng, length_m: float, least_m: float, more_m: float) -> Array:
    """Where things stand along the street that keep a least distance, and on average so much more."""
    places = np.cumsum(least_m + rng.exponential(more_m, int(length_m / least_m) + 1)) - rng.uniform(0, 0.6) * least_m
    return places[places < length_m]


def _pick(rng: Rng, table: Array) -> Array:
    return table[rng.integers(len(table))]  # rng.choice takes ten times as long


def _rects(corners: Any, sides: Any) -> Array:
    """Rectangles from one corner (3,) or (k, 3) and two sides (2, 3), as polygons (k, 4, 3)."""
    first, second = np.asarray(sides, dtype=float)
    return np.atleast_2d(corners)[:, None] + np.stack([first * 0, first, first + second, second])


def _rows(x: float, y: Any, z: Any) -> Array:
    """All points at these heights and depths, (k, 3)."""
    return np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)


def _ground(rng: Rng, kerb: float, front: float, length_m: float) -> Thing:
    """Lawn, pavements, kerbs, road, and what is painted on it."""
    joints, dashes, bars = np.arange(1, length_m), np.arange(0, length_m, 6), np.arange(-kerb + 0.5, kerb - 0.5)
    crossing = rng.uniform(8, 40) * (rng.random() < 0.4) - 5
    rows = (
        (_rows(-500, 0, 0), 1000, _FAR_M, _LAWN, GRASS),
        (_rows(-front, 0, 0), 2 * front, _FAR_M, _SLABS, PAVEMENT),
        (_rows(-front, 0, joints), 2 * front, 0.06, _JOINT, PAVEMENT),
        (_rows(-kerb - 0.2, 0, 0), 2 * kerb + 0.4, _FAR_M, _KERB, PAVEMENT),
        (_rows(-kerb, 0, 0), 2 * kerb, _FAR_M, _ASPHALT, ROAD),
        (_rows(-0.08, 0, dashes), 0.16, 3, _WHITE, ROAD),
        (_rows(bars, 0, crossing), 0.5, 3, _WHITE, ROAD),
    )
    shapes = [Shape(_rects(at, ((wide, 0, 0), (0, 0, long))), colour, label) for at, wide, long, colour, label in rows]
    return Thing(0, 0, shapes, length=_FAR_M)


def _house(rng: Rng, light: Light, side: int, x: float, z: float) -> Thing:
    length, height, pane = rng.uniform(9, 16), rng.uniform(6, 17), rng.uniform(1.0, 1.8)
    wall = _pick(rng, _WALLS) * rng.uniform(0.8, 1.1) * (0.9 - 0.15 * side)
    along, up, across = (0, 0, length), (0, height, 0), (side * 14, 0, 0)
    sills = _rows(0, np.arange(1.2, height - 2.2, 3.1), np.arange(1, length - pane, 1.9 * pane))
    lit, roof = rng.random(len(sills)) < light.lit, rng.uniform(1.5, 4) * (rng.random() < 0.4)
    rows = (
        (_rects((0, 0, 0), (across, up)), wall * 0.85),
        (_rects((0, 0, 0), (along, up)), wall),
        (_flat([[(0, height), (side * 14, height), (side * 7, height + roof)]]), wall * 0.75),
        (_rects((0, height, 0), (along, (side * 7, roof, 0))), _TILES),
        (_rects(sills[~lit], ((0, 1.7, 0), (0, 0, pane))), light.zenith * 0.35),
        (_rects(sills[lit], ((0, 1.7, 0), (0, 0, pane))), _WARM),
    )
    return Thing(x, z, [Shape(polygons, colour, BUILDING) for polygons, colour in rows if len(polygons)], length)


def _tree(rng: Rng, x: float, z: float, height: float) -> Thing:
    leaf = _LEAF * rng.uniform(0.7, 1.2, 3)
    blobs, leaves = (part * 0.26 * height + (0, 0.68 * height, 0) for part in _CROWNS[rng.integers(len(_CROWNS))])
    tones = (*rng.uniform(0.8, 1.1, 7), 0.6, 1.35)
    crown = [Shape(part, leaf * tone, TREE) for part, tone in zip([*blobs, *leaves], tones, strict=True)]
    return Thing(x, z, [_post(0.025 * height, 0.6 * height, _BARK, TREE), *crown])


def _car(rng: Rng, x: float, z: float, speed_z: float = 0.0) -> Thing:
    """A car or van that shows its rear, or its front to the left of the middle."""
    height, length = rng.uniform((1.4, 3.7), (1.6, 4.6)) if rng.random() < 0.8 else rng.uniform((1.9, 4.6), (2.3, 5.4))
    paint, lamp = _pick(rng, _PAINTS) * rng.uniform(0.8, 1.1), _HEADLAMP if x < 0 else _TAIL_LAMP
    colours = {"end": paint, "flank": paint * 0.75, "roof": paint * 0.9, "lamps": lamp, **_CAR_COLOURS}
    # Mirrored where it is to the right of the camera, so that the flank is the one that shows.
    size = (0.9 if x < 1.8 else -0.9, height, length)
    shadow = Shape(_rects((-1, 0, -0.2), ((2, 0, 0), (0, 0, length))), _SHADOW, ROAD)
    shapes = [shadow, *(Shape(np.array(corners) * size, colours[part], CAR) for part, corners in _CAR)]
    return Thing(x, z, shapes, length, speed_z=speed_z)


def _person(rng: Rng, x: float, z: float) -> Thing:
    height, coat, skin = rng.uniform(1.55, 1.95), _pick(rng, _CLOTHES) * rng.uniform(0.7, 1.1), _pick(rng, _SKINS)
    colours = {"coat": coat, "legs": _pick(rng, _CLOTHES[:4]) * 0.6, "skin": skin, "hair": skin * 0.3}
    shapes = [Shape(outline * height, colours[part], PERSON) for part, outline in _PERSON]
    return Thing(x, z, shapes, speed_z=1.3 * rng.integers(-1, 2))


def _sign(rng: Rng, x: float, z: float) -> Thing:
    board, size = _BOARDS[rng.integers(len(_BOARDS))], rng.uniform(0.4, 0.6)
    faces = ((size, _pick(rng, _BOARD_PAINTS)), (0.7 * size, _WHITE))
    return Thing(x, z, [_post(0.05, 2.4), *(Shape(board * each + (0, 2.6, 0), paint, SIGN) for each, paint in faces)])


def _lamp(x: float, z: float) -> Thing:
    arm = _rects((0, 7, 0), ((-np.sign(x) * 2, 0, 0), (0, -0.15, 0)))
    return Thing(x, z, [_post(0.09, 7), Shape(arm, _METAL, POLE)])


def _post(half_m: float, height: float, colour: Array = _METAL, label: int = POLE) -> Shape:
    return Shape(_rects((-half_m, 0, 0), ((2 * half_m, 0, 0), (0, height, 0))), colour, label)


def _backdrop(camera: Camera, light: Light) -> tuple[UInt8Array, Array]:
    """Sky (H, W, 3), haze below the horizon; and noise that lies on the clouds' ceiling and on the ground (H, W)."""
    rise = (camera.horizon_px - np.arange(camera.height, dtype=np.float32)[:, None]) / camera.focal_px
    ground_m = camera.y / np.maximum(-rise, 1e-3)
    depth = np.where(rise > 0, 30 / (np.abs(rise) + 0.12), ground_m * _TILE_PX_PER_M)
    across = depth * (np.arange(camera.width, dtype=np.float32) - camera.centre_px) / camera.focal_px
    ahead = depth + np.float32(np.where(rise > 0, 999 * light.clouds, camera.z * _TILE_PX_PER_M)) + 0 * across
    noise = cv2.remap(_TILE, across, ahead, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    low = np.clip(1 - rise / 0.45, 0, 1) ** 1.5
    cover = np.clip(noise * 0.9 + light.clouds - 0.5, 0, 1) * (1 - 0.6 * low)
    sky_hwc = light.zenith + (light.haze - light.zenith) * (low + (1 - low) * cover)[..., None]
    # Far away the ground's noise is finer than a pixel, and would only flicker.
    return sky_hwc.astype(np.uint8), noise * np.exp(ground_m / -40)


def _expose(rng: Rng, canvas: UInt8Array, noise_hw: Array, light: Light) -> UInt8Array:
    """Turn the drawing into a photograph: texture, colour of the light, lens blur, sensor noise."""
    lit_hwc = (1 + _TEXTURE[canvas[..., 3]] * noise_hw)[..., None] * light.tint
    picture = cv2.GaussianBlur(canvas[..., :3] * lit_hwc, (3, 3), 0.5)
    return np.clip(picture + 3 * rng.standard_normal(picture.shape, np.float32), 0, 255).astype(np.uint8)
