"""Generated street scenes with exact labels: something to train and to show on where no data set is.

A small world in metres (x right, y up from the ground, z ahead) is drawn from far to near through a pinhole
camera, each shape into the picture and into the labels by the same call. Light, texture, blur and sensor
noise then change the picture alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

CLASSES = ("sky", "building", "road", "pavement", "grass", "tree", "car", "person", "sign", "pole")
SKY, BUILDING, ROAD, PAVEMENT, GRASS, TREE, CAR, PERSON, SIGN, POLE = range(len(CLASSES))

FRAME_RATE = 15.0

UInt8Array = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Scalars = float | npt.NDArray[np.float64]

_NEAR_M, _SIGHT_M, _FAR_M = 0.6, 120.0, 600.0
# Fractional bits of polygon corners: without them slow things would move in steps of a pixel.
_SUBPIXEL_BITS = 4
_TILE_PX, _TILE_PX_PER_M = 256, 24.0
_CROWNS = 40

# How strongly the texture shows in each class, as a share of its brightness.
_TEXTURE = np.array([0, 0.05, 0.06, 0.06, 0.16, 0.06, 0, 0, 0, 0], dtype=np.float32)


def _rgb(colours: str) -> UInt8Array:
    """Colours in hexadecimal to (count, 3) RGB."""
    return np.frombuffer(bytes.fromhex(colours), dtype=np.uint8).reshape(-1, 3)


PALETTE = _rgb("4682b4 5a5050 804080 f423e8 98fb98 508c23 0000be dc143c e6dc00 aaaaa0")
_WALLS = _rgb("b06c54 c4b296 96928c d0c8bc 8a5c4e baa06e")
_PAINTS = _rgb("be1e1e 1e3c96 e1e1e1 28282d 82878c c8aa32 286446")
_CLOTHES = _rgb("aa2832 283c78 3c3c3e d2cdbe 5a8250 dc9628")
_SKINS = _rgb("e6bea0 be8c69 78503a")
_BOARDS = _rgb("c81e23 1e46b4 ebc828 147846")
_WHITE, _GLASS, _RUBBER, _METAL = _rgb("e1e1e1 303a44 1a1a1a 606264")
_LAWN, _SLABS, _JOINT, _KERB, _ASPHALT, _REPAIR = _rgb("607a3e 9e9892 7a7a7a b6b4ae 5c5c60 4e4e52")
_BARK, _LEAF, _HILL, _TILES = _rgb("544232 486c30 465a46 684a42")
_WARM, _HEADLAMP, _TAIL_LAMP = _rgb("facd78 faf5d7 c81919")
_BLUE, _GREY, _CLEAR_HAZE, _GREY_HAZE, _DUSK_HAZE = _rgb("467dc8 a5acb4 d7e1eb c3c6c8 eba578")


def _polygon(corners: int, turn: float = 0.0) -> Points:
    """A regular one of radius 1, (corners, 2)."""
    angles = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


_CIRCLE = _polygon(16)
_BOARD_OUTLINES = (_polygon(3, np.pi / 2), _polygon(3, -np.pi / 2), _polygon(4, np.pi / 4), _CIRCLE)

# People, (corners, 2), their height being 1; limbs are moved by their swing.
_LEG = np.array([(-0.05, 0.5), (0.05, 0.5), (0.04, 0), (-0.04, 0)])
_ARM = np.array([(0.1, 0.82), (0.14, 0.8), (0.15, 0.45), (0.11, 0.45)])
_SWING = np.array([(0, 0), (0, 0), (1, 0), (1, 0)])
_TORSO = np.array([(-0.09, 0.46), (0.09, 0.46), (0.13, 0.8), (0, 0.86), (-0.13, 0.8)])
_HEAD = _CIRCLE * (0.058, 0.075) + (0, 0.92)
_HAIR = _CIRCLE[:9] * (0.064, 0.08) + (0, 0.925)

# Cars, (corners, 3), half their width, their height and their length being 1, seen from their end at z = 0.
_CAR_CHASSIS = np.array([(x, y, z) for x in (-0.95, 0.95) for y in (0.08, 0.35) for z in (0.02, 1)])
_CAR_BODY = np.array([(x, y, z) for x in (-1, 1) for y in (0.24, 0.62) for z in (0, 1)])
_CAR_ROOF = [(x, 1, z) for x in (-0.75, 0.75) for z in (0.21, 0.7)]
_CAR_CABIN = np.array([(x, 0.62, z) for x in (-0.93, 0.93) for z in (0.12, 0.8)] + _CAR_ROOF)
_CAR_BACK = np.array([(-1, 0.24, 0), (1, 0.24, 0), (1, 0.62, 0), (-1, 0.62, 0)])
_CAR_GLASS = np.array([(-0.85, 0.63, 0.13), (0.85, 0.63, 0.13), (0.68, 0.93, 0.19), (-0.68, 0.93, 0.19)])
_CAR_FLANK = np.array([(0.95, 0.63, 0.2), (0.95, 0.63, 0.76), (0.82, 0.93, 0.68), (0.82, 0.93, 0.26)])
_CAR_WHEEL = np.stack([np.full(16, 1.0), 0.2 + 0.2 * _CIRCLE[:, 1], 0.08 * _CIRCLE[:, 0]], axis=1)
_CAR_LAMP = np.array([(0.6, 0.44, 0), (0.95, 0.44, 0), (0.95, 0.57, 0), (0.6, 0.57, 0)])
_CAR_PLATE = np.array([(-0.28, 0.3, 0), (0.28, 0.3, 0), (0.28, 0.38, 0), (-0.28, 0.38, 0)])
_CAR_FACES = (
    ("rubber", _CAR_WHEEL[None] + np.array([(0, 0, 0.17), (0, 0, 0.82)])[:, None]),
    ("paint", _CAR_BACK[None]),
    ("glass", _CAR_GLASS[None]),
    ("glass", _CAR_FLANK[None]),
    ("lamp", np.stack([_CAR_LAMP, _CAR_LAMP * (-1, 1, 1)])),
    ("plate", _CAR_PLATE[None]),
)


def scene(rng: np.random.Generator, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Draw one street.

    Args:
        rng: where all choices come from; the same state gives the same scene.
        height: of the frame in pixels.
        width: of the frame in pixels.

    Returns:
        frame_hwc (height, width, 3) uint8 RGB, and labels_hw (height, width) uint8, indices of `CLASSES`.
    """
    street = _street(rng, length_m=_SIGHT_M)
    camera = _camera(rng, height, width)
    return _photograph(rng, street, camera, 0.0, height, width)


def drive(
    rng: np.random.Generator, frames: int, height: int, width: int
) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Drive along one street at `FRAME_RATE` frames per second, among traffic and people that move.

    Args:
        rng: where all choices come from; the same state gives the same drive.
        frames: number of frames.
        height: of the frames in pixels.
        width: of the frames in pixels.

    Yields:
        frame_hwc (height, width, 3) uint8 RGB, and labels_hw (height, width) uint8, indices of `CLASSES`.
    """
    speed = rng.uniform(6.0, 9.0)
    street = _street(rng, length_m=_SIGHT_M + frames / FRAME_RATE * speed, lane_speed=speed)
    camera = _camera(rng, height, width)
    for index in range(frames):
        seconds = index / FRAME_RATE
        bounce_px = 0.004 * height * np.sin(5.0 * seconds)
        here = replace(camera, z=seconds * speed, horizon_px=camera.horizon_px + bounce_px)
        yield _photograph(rng, street, here, seconds, height, width)


@dataclass(frozen=True)
class Light:
    """Time of day and weather; colours are RGB in 0..255, `tint` multiplies the finished picture."""

    sun_side: int
    sun: float
    tint: Points
    zenith: Points
    haze: Points
    haze_m: float
    clouds: float
    dusk: bool


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z; position in metres."""

    focal_px: float
    centre_px: float
    horizon_px: float
    x: float
    y: float
    z: float = 0.0

    def project(self, points: Points) -> Points:
        """(..., 3) metres to (..., 2) pixels; what lies behind is moved along z to just before the camera."""
        depth = np.maximum(points[..., 2:] - self.z, _NEAR_M)
        offset = (points[..., :2] - (self.x, self.y)) * (1, -1) * self.focal_px
        return offset / depth + (self.centre_px, self.horizon_px)


class Canvas:
    """Collects shapes, and paints them through a camera in the order in which they came.

    Colour and class share one four-channel picture, so that a shape cannot cover other pixels in the labels
    than in the picture.
    """

    def __init__(self, camera: Camera, light: Light, sky_hwc: UInt8Array) -> None:
        self.camera = camera
        self.light = light
        self._painted_hwc = cv2.merge([sky_hwc, np.full(sky_hwc.shape[:2], SKY, np.uint8)])  # (H, W, 4)
        self._shapes: list[tuple[Points, Points, int, bool]] = []

    @property
    def frame_hwc(self) -> UInt8Array:
        """(H, W, 3) RGB, as painted so far."""
        return self._painted_hwc[..., :3]

    @property
    def labels_hw(self) -> UInt8Array:
        """(H, W) indices of CLASSES, as painted so far."""
        return self._painted_hwc[..., 3]

    def size_px(self, metres: float, z: float) -> float:
        """How large a length appears at a depth."""
        return self.camera.focal_px * metres / max(z - self.camera.z, _NEAR_M)

    def fill(self, polygons: Points, colour: Points, label: int) -> None:
        """Take (k, corners, 3) polygons; where two of one call overlap, both leave a hole."""
        self._shapes.append((polygons, colour, label, False))

    def fill_hull(self, points: Points, colour: Points, label: int) -> None:
        """Take the outline of a convex body given by its (n, 3) corners."""
        self._shapes.append((points[None], colour, label, True))

    def paint(self) -> None:
        """Paint what has been collected; farther things are hazier."""
        depth_m = np.array([shape[0][0, 0, 2] for shape in self._shapes]) - self.camera.z
        clear = np.exp(-np.maximum(depth_m, 0) / self.light.haze_m)[:, None]
        colours = np.array([shape[1] for shape in self._shapes])
        hazy = np.clip(self.light.haze + (colours - self.light.haze) * clear, 0, 255).tolist()
        corners = self._corners([shape[0] for shape in self._shapes])
        for outlines, colour, (_, _, label, is_hull) in zip(corners, hazy, self._shapes, strict=True):
            parts = [cv2.convexHull(outlines[0])] if is_hull else list(outlines)
            cv2.fillPoly(self._painted_hwc, parts, (*colour, label), shift=_SUBPIXEL_BITS)
        self._shapes.clear()

    def darken(self, polygons: list[Points], strength: float) -> None:
        """Throw soft shadows, each (k, corners, 3), over what has been painted so far."""
        light_hw = np.full(self.labels_hw.shape, 255, dtype=np.uint8)
        for outlines in self._corners(polygons):
            cv2.fillPoly(light_hw, list(outlines), 255 * (1 - strength), shift=_SUBPIXEL_BITS)
        light_hw = cv2.blur(light_hw, (3, 3))
        light_hwc = cv2.merge([light_hw, light_hw, light_hw, np.full_like(light_hw, 255)])
        cv2.multiply(self._painted_hwc, light_hwc, self._painted_hwc, scale=1 / 255)

    def _corners(self, polygons: list[Points]) -> Iterator[npt.NDArray[np.int32]]:
        """Project them all at once, and give them back one by one, (k, corners, 2)."""
        pixels = self.camera.project(np.concatenate([each.reshape(-1, 3) for each in polygons]))
        fixed = np.rint(np.clip(pixels, -20000, 20000) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        first = 0
        for each in polygons:
            count, sides, _ = each.shape
            yield fixed[first : first + count * sides].reshape(count, sides, 2)
            first += count * sides


@dataclass(kw_only=True)
class Thing:
    """Anything that stands in the street, at (x, z) at time 0; speeds in metres per second."""

    x: float
    z: float
    length: float = 0.0
    speed_x: float = 0.0
    speed_z: float = 0.0

    def at(self, seconds: float) -> Thing:
        """Where it is later."""
        return replace(self, x=self.x + self.speed_x * seconds, z=self.z + self.speed_z * seconds)

    def shadow(self, light: Light) -> Points:
        """Its shadow on the ground, (k, corners, 3)."""
        return _disc(self.x - 0.3 * light.sun_side, self.z, 0.35)

    def draw(self, canvas: Canvas) -> None:
        """Draw it and label it."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Building(Thing):
    """A block of houses; x is the line of their fronts."""

    height: float
    wall: Points
    pane_m: float
    shop: bool
    roof: float
    lit: npt.NDArray[np.bool_]

    def shadow(self, light: Light) -> Points:
        side = np.sign(self.x)
        reach = 0.8 * self.height if side == light.sun_side else 0.0
        return _ground(self.x - side * reach, self.x, self.z, self.z + self.length)

    def draw(self, canvas: Canvas) -> None:
        side, end = np.sign(self.x), self.z + self.length
        wall = self.wall * (0.72 if side == canvas.light.sun_side else 1.0)
        canvas.fill(_card(self.z, self.x, self.x + side * 14, 0, self.height), wall * 0.85, BUILDING)
        canvas.fill(_wall(self.x, self.z, end, 0, self.height), wall, BUILDING)
        canvas.fill(_wall(self.x, self.z, end, self.height - 0.5, self.height), wall * 0.6, BUILDING)
        if self.roof:
            self._draw_roof(canvas)
        if self.z - canvas.camera.z < 90:
            self._draw_windows(canvas, wall)
        if self.shop:
            canvas.fill(_wall(self.x, self.z + 0.8, end - 0.8, 0.5, 2.7), _GLASS, BUILDING)
            canvas.fill(_wall(self.x, self.z + 0.4, end - 0.4, 2.8, 3.5), wall[::-1] * 0.9, BUILDING)

    def _draw_roof(self, canvas: Canvas) -> None:
        side, end, top = np.sign(self.x), self.z + self.length, self.height + self.roof
        near, far = (self.x, self.height), (self.x + side * 14, self.height)
        ridge = (self.x + side * 7, top)
        canvas.fill(_upright(np.array([near, far, ridge]), self.z)[None], self.wall * 0.75, BUILDING)
        slope = [(*near, self.z), (*near, end), (*ridge, end), (*ridge, self.z)]
        canvas.fill(np.array([slope]), _TILES, BUILDING)

    def _draw_windows(self, canvas: Canvas, wall: Points) -> None:
        columns = self.z + np.arange(1.0, self.length - self.pane_m, 1.9 * self.pane_m)
        floors = np.arange(4.3 if self.shop else 1.2, self.height - 2.2, 3.1)
        starts, sills = (grid.ravel() for grid in np.meshgrid(columns, floors))
        if not len(starts):
            return
        panes = _wall(self.x, starts, starts + self.pane_m, sills, sills + 1.7)
        canvas.fill(panes, canvas.light.zenith * 0.35, BUILDING)
        lit = np.resize(self.lit, len(panes))
        if canvas.light.dusk and lit.any():
            canvas.fill(panes[lit], _WARM, BUILDING)
        canvas.fill(_wall(self.x, starts, starts + self.pane_m, sills - 0.25, sills), wall * 1.2, BUILDING)


@dataclass(kw_only=True)
class Tree(Thing):
    """A trunk and a crown of overlapping blobs with lighter and darker leaves."""

    height: float
    leaf: Points
    crown: int

    def shadow(self, light: Light) -> Points:
        return _disc(self.x - 0.5 * light.sun_side * self.height, self.z, 0.4 * self.height)

    def draw(self, canvas: Canvas) -> None:
        thick, radius = 0.025 * self.height, 0.26 * self.height
        trunk = _card(self.z, self.x - thick, self.x + thick, 0, 0.6 * self.height)
        canvas.fill(trunk, _BARK, TREE)
        blobs, shades, leaves = _crown(self.crown)
        place = (self.x, 0.68 * self.height)
        for blob, shade in zip(blobs, shades, strict=True):
            canvas.fill(_upright(blob * radius + place, self.z)[None], self.leaf * shade, TREE)
        if canvas.size_px(self.height, self.z) > 40:
            canvas.fill(_upright(leaves[0] * radius + place, self.z), self.leaf * 0.6, TREE)
            canvas.fill(_upright(leaves[1] * radius + place, self.z), self.leaf * 1.35, TREE)


@dataclass(kw_only=True)
class Car(Thing):
    """A car or van seen from behind, or from in front when `oncoming`."""

    paint: Points
    height: float
    oncoming: bool

    def shadow(self, light: Light) -> Points:
        x = self.x - 0.4 * light.sun_side
        return _ground(x - 1.0, x + 1.0, self.z - 0.2, self.z + self.length + 0.2)

    def draw(self, canvas: Canvas) -> None:
        # Mirrored, so that the modelled flank is the one that the camera sees.
        scale = (np.copysign(0.9, canvas.camera.x - self.x), self.height, self.length)
        for corners, colour in (
            (_CAR_CHASSIS, _RUBBER),
            (_CAR_BODY, self.paint * 0.75),
            (_CAR_CABIN, self.paint * 0.85),
        ):
            canvas.fill_hull(corners * scale + (self.x, 0, self.z), colour, CAR)
        lamp = _HEADLAMP if self.oncoming else _TAIL_LAMP
        tones = {"paint": self.paint, "glass": _GLASS, "rubber": _RUBBER, "lamp": lamp, "plate": _WHITE}
        for tone, corners in _CAR_FACES:
            canvas.fill(corners * scale + (self.x, 0, self.z), tones[tone], CAR)


@dataclass(kw_only=True)
class Person(Thing):
    """Somebody who stands or walks."""

    height: float
    coat: Points
    trousers: Points
    skin: Points
    stride: float

    def draw(self, canvas: Canvas) -> None:
        swing = 0.08 * np.sin(self.stride + 3.5 * (self.z + self.x))
        limbs = [(_LEG + _SWING * way * swing, self.trousers) for way in (1, -1)]
        limbs += [((_ARM + _SWING * swing * way) * (way, 1), self.coat * 0.8) for way in (1, -1)]
        for shape, colour in (*limbs, (_TORSO, self.coat), (_HEAD, self.skin), (_HAIR, self.skin * 0.3)):
            corners_xy = shape * self.height + (self.x, 0)
            canvas.fill(_upright(corners_xy, self.z)[None], colour, PERSON)


@dataclass(kw_only=True)
class Sign(Thing):
    """A board of some shape on a post."""

    board: Points
    outline: Points
    size: float

    def draw(self, canvas: Canvas) -> None:
        canvas.fill(_card(self.z, self.x - 0.05, self.x + 0.05, 0, 2.4), _METAL, POLE)
        for size, colour in ((self.size, self.board), (0.7 * self.size, _WHITE)):
            canvas.fill(_upright(self.outline * size + (self.x, 2.6), self.z)[None], colour, SIGN)


@dataclass(kw_only=True)
class Lamp(Thing):
    """A street lamp whose arm reaches over the road."""

    height: float

    def draw(self, canvas: Canvas) -> None:
        arm = self.x - np.sign(self.x) * 1.6
        canvas.fill(_card(self.z, self.x - 0.09, self.x + 0.09, 0, self.height), _METAL, POLE)
        canvas.fill(_card(self.z, self.x, arm, self.height - 0.1, self.height), _METAL, POLE)
        glow = _WARM if canvas.light.dusk else _METAL * 1.5
        canvas.fill(_card(self.z, arm - 0.4, arm + 0.4, self.height - 0.22, self.height - 0.05), glow, POLE)


@functools.cache
def _crown(number: int) -> tuple[Points, Points, Points]:
    """Shape of a crown of radius 1 or so: blobs (7, 16, 2), their brightness (7,), leaves (2, 28, 6, 2)."""
    rng = np.random.default_rng(number)
    middles = rng.uniform(-0.75, 0.75, (7, 2))
    radii = rng.uniform(0.6, 1.0, (7, 1, 1)) * rng.uniform(0.85, 1.15, (7, 16, 1))
    blobs = middles[:, None] + _CIRCLE * radii
    spots = middles[rng.integers(0, 7, (2, 28))] + rng.uniform(-0.5, 0.5, (2, 28, 2))
    # Dark leaves below, bright ones above.
    spots[..., 1] += ((-0.25,), (0.2,))
    leaves = spots[:, :, None] + _CIRCLE[::3] * 0.07 * rng.uniform(0.6, 2.2, (2, 28, 1, 1))
    return blobs, rng.uniform(0.8, 1.1, 7), leaves


@dataclass(frozen=True)
class Street:
    """Widths from the middle of the road outwards, and all that stands along it."""

    kerb: float
    front: float
    light: Light
    crossing_z: float
    patches: Points
    hills: Points
    things: list[Thing]


def _card(z: Scalars, left: Scalars, right: Scalars, low: Scalars, high: Scalars) -> Points:
    """Upright rectangles that face the camera, (k, 4, 3)."""
    return _quads((left, low, z), (right, low, z), (right, high, z), (left, high, z))


def _wall(x: Scalars, start: Scalars, end: Scalars, low: Scalars, high: Scalars) -> Points:
    """Upright rectangles along the road, (k, 4, 3)."""
    return _quads((x, low, start), (x, low, end), (x, high, end), (x, high, start))


def _ground(left: Scalars, right: Scalars, start: Scalars, end: Scalars) -> Points:
    """Rectangles that lie on the ground, (k, 4, 3)."""
    return _quads((left, 0, start), (right, 0, start), (right, 0, end), (left, 0, end))


def _quads(*corners: tuple[Scalars, Scalars, Scalars]) -> Points:
    if not any(isinstance(axis, np.ndarray) for corner in corners for axis in corner):
        return np.array([corners], dtype=float)
    flat = np.broadcast_arrays(*(axis for corner in corners for axis in corner))
    return np.stack(flat, axis=-1).reshape(-1, 4, 3).astype(float)


def _disc(x: float, z: float, radius: float) -> Points:
    """A circle on the ground, (1, 16, 3)."""
    flat = _CIRCLE * radius + (x, z)
    return np.stack([flat[:, 0], np.zeros(16), flat[:, 1]], axis=1)[None]


def _upright(points_xy: Points, z: float) -> Points:
    points = np.empty((*points_xy.shape[:-1], 3))
    points[..., :2], points[..., 2] = points_xy, z
    return points


def _light(rng: np.random.Generator) -> Light:
    clear, dusk = bool(rng.random() < 0.6), bool(rng.random() < 0.2)
    zenith = (_BLUE if clear else _GREY) * rng.uniform(0.85, 1.15)
    haze = _DUSK_HAZE if dusk else _CLEAR_HAZE if clear else _GREY_HAZE
    tint = rng.uniform(0.75, 1.2) + rng.uniform(-0.06, 0.06) * np.array((1, 0, -1))
    if dusk:
        zenith, tint = zenith * (0.6, 0.55, 0.7), tint * (0.8, 0.66, 0.62)
    return Light(
        sun_side=int(rng.integers(0, 2)) * 2 - 1,
        sun=rng.uniform(0.3, 0.6) if clear and not dusk else 0.1,
        tint=tint,
        zenith=zenith,
        haze=haze.astype(float),
        haze_m=rng.uniform(120, 500),
        clouds=rng.uniform(0.1, 0.9),
        dusk=dusk,
    )


def _camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    return Camera(
        focal_px=max(width, height) * rng.uniform(0.75, 1.05),
        centre_px=width * rng.uniform(0.42, 0.58),
        horizon_px=height * rng.uniform(0.38, 0.52),
        x=rng.uniform(1.2, 2.2),
        y=rng.uniform(1.3, 2.1),
    )


def _street(rng: np.random.Generator, length_m: float, lane_speed: float = 7.0) -> Street:
    parking = rng.random() < 0.7
    kerb = rng.uniform(3.4, 4.0) + 2.2 * parking
    front = kerb + rng.uniform(2.6, 5.0)
    things: list[Thing] = _traffic(rng, length_m, lane_speed)
    for side in (-1, 1):
        behind = _houses if rng.random() < 0.85 else _park
        things += behind(rng, side * front, length_m)
        things += _furniture(rng, side * (kerb + 0.5), length_m)
        things += _parked(rng, side * (kerb - 1.05), length_m) if parking else []
        things += _walkers(rng, side, kerb + 0.9, front - 0.4, length_m)
    if rng.random() < 0.3:
        z = rng.uniform(8, 30)
        things.append(_person(rng, rng.uniform(-kerb, kerb), z, speed_x=2.4 * rng.integers(0, 2) - 1.2))
    ridge = np.stack([np.linspace(-500, 500, 60), rng.uniform(4, 16) * rng.uniform(0.5, 1.4, 60)], axis=1)
    return Street(
        kerb=kerb,
        front=front,
        light=_light(rng),
        crossing_z=rng.uniform(8, 40) if rng.random() < 0.35 else -100.0,
        patches=rng.uniform((-kerb, 4, 0.4, 0.8), (kerb - 1, length_m, 1.4, 5.0), (int(length_m / 15), 4)),
        hills=np.concatenate([ridge, [(500, 0), (-500, 0)]]),
        things=things,
    )


def _houses(rng: np.random.Generator, x: float, length_m: float) -> list[Thing]:
    """Blocks of houses, with trees in the gaps between them."""
    found: list[Thing] = []
    z = rng.uniform(-8, 0)
    while z < length_m:
        size = rng.uniform(8, 22)
        found.append(_building(rng, x, z, size))
        z += size
        if rng.random() < 0.4:
            gap = rng.uniform(5, 14)
            found.append(_tree(rng, x + np.sign(x) * rng.uniform(1, 6), z + gap / 2, 5, 10))
            z += gap
    return found


def _building(rng: np.random.Generator, x: float, z: float, length: float) -> Building:
    return Building(
        x=x,
        z=z,
        length=length,
        height=rng.uniform(6, 17),
        wall=_pick(rng, _WALLS) * rng.uniform(0.8, 1.1),
        pane_m=rng.uniform(1.0, 1.8),
        shop=bool(rng.random() < 0.4),
        roof=rng.uniform(1.5, 4) if rng.random() < 0.4 else 0.0,
        lit=rng.random(61) < 0.45,
    )


def _park(rng: np.random.Generator, x: float, length_m: float) -> list[Thing]:
    offsets = np.arange(4, length_m, 6) + rng.uniform(-2, 2)
    return [_tree(rng, x + np.sign(x) * rng.uniform(0.5, 14), z, 5, 12) for z in offsets]


def _tree(rng: np.random.Generator, x: float, z: float, low: float, high: float) -> Tree:
    leaf = _LEAF * rng.uniform(0.7, 1.2, 3)
    return Tree(x=x, z=z, height=rng.uniform(low, high), leaf=leaf, crown=int(rng.integers(_CROWNS)))


def _furniture(rng: np.random.Generator, x: float, length_m: float) -> list[Thing]:
    """Street trees, lamps and signs along the kerb."""
    found: list[Thing] = []
    if rng.random() < 0.5:
        places = np.arange(rng.uniform(5, 14), length_m, 13)
        found += [_tree(rng, x + np.sign(x) * 0.3, z, 4, 7) for z in places]
    if rng.random() < 0.6:
        tall = rng.uniform(5.5, 8)
        found += [Lamp(x=x, z=z, height=tall) for z in np.arange(rng.uniform(3, 20), length_m, 24)]
    for z in rng.uniform(6, length_m, int(length_m / 25)):
        outline = _BOARD_OUTLINES[rng.integers(4)]
        found.append(Sign(x=x, z=z, board=_pick(rng, _BOARDS), outline=outline, size=rng.uniform(0.4, 0.6)))
    return found


def _parked(rng: np.random.Generator, x: float, length_m: float) -> list[Thing]:
    found: list[Thing] = []
    z = rng.uniform(3, 15)
    while z < length_m:
        found.append(_car(rng, x, z, oncoming=bool(x < 0)))
        z += found[-1].length + rng.uniform(0.8, 3) + rng.exponential(8)
    return found


def _traffic(rng: np.random.Generator, length_m: float, lane_speed: float) -> list[Thing]:
    """Cars in both lanes; one speed per lane, so that none runs into another."""
    ahead = lane_speed * rng.uniform(1.0, 1.2)
    own = [_car(rng, 1.75, z, speed_z=ahead) for z in _spaced(rng, rng.uniform(9, 40), length_m, 45)]
    other = [
        _car(rng, -1.75, z, speed_z=-lane_speed, oncoming=True)
        for z in _spaced(rng, rng.uniform(6, 30), 2 * length_m, 30)
    ]
    return own + other


def _spaced(rng: np.random.Generator, start: float, end: float, typical: float) -> list[float]:
    gaps = 8 + rng.exponential(typical, int((end - start) / 8) + 1)
    places = start + np.concatenate([[0.0], np.cumsum(gaps)])
    return [float(z) for z in places if z < end]


def _car(rng: np.random.Generator, x: float, z: float, speed_z: float = 0.0, oncoming: bool = False) -> Car:
    van = rng.random() < 0.2
    return Car(
        x=x,
        z=z,
        speed_z=speed_z,
        length=rng.uniform(4.6, 5.4) if van else rng.uniform(3.7, 4.6),
        paint=_pick(rng, _PAINTS) * rng.uniform(0.8, 1.1),
        height=rng.uniform(1.9, 2.3) if van else rng.uniform(1.4, 1.6),
        oncoming=oncoming,
    )


def _pick(rng: np.random.Generator, table: npt.NDArray[Any]) -> Points:
    """A row; `rng.choice` takes ten times as long."""
    return table[rng.integers(len(table))]


def _walkers(rng: np.random.Generator, side: int, near: float, far: float, length_m: float) -> list[Thing]:
    count = rng.poisson(length_m / 20)
    places = np.maximum(rng.exponential(25, count) + 5, rng.uniform(5, length_m, count) * 0.4)
    return [_person(rng, side * rng.uniform(near, far), z, speed_z=1.3 * rng.integers(-1, 2)) for z in places]


def _person(
    rng: np.random.Generator, x: float, z: float, speed_x: float = 0.0, speed_z: float = 0.0
) -> Person:
    return Person(
        x=x,
        z=z,
        speed_x=speed_x,
        speed_z=speed_z,
        height=rng.uniform(1.55, 1.95),
        coat=_pick(rng, _CLOTHES) * rng.uniform(0.7, 1.1),
        trousers=_pick(rng, _CLOTHES[:4]) * 0.6,
        skin=_pick(rng, _SKINS),
        stride=rng.uniform(0, 6),
    )


def _photograph(
    rng: np.random.Generator, street: Street, camera: Camera, seconds: float, height: int, width: int
) -> tuple[UInt8Array, UInt8Array]:
    """Draw the street as it is at a time, then expose it."""
    canvas = Canvas(camera, street.light, _sky(street.light, camera, height, width))
    things = [thing.at(seconds) for thing in street.things]
    seen = [thing for thing in things if _in_view(thing, camera, width)]
    # Houses first: whatever else there is stands before their fronts, or in a gap between two.
    seen.sort(key=lambda thing: (not isinstance(thing, Building), -thing.z))
    _draw_ground(canvas, street)
    canvas.paint()
    canvas.darken([thing.shadow(street.light) for thing in seen], street.light.sun)
    for thing in seen:
        thing.draw(canvas)
    canvas.paint()
    return _expose(rng, canvas), canvas.labels_hw.copy()


def _in_view(thing: Thing, camera: Camera, width: int) -> bool:
    """Whether it may show: neither behind, nor beyond the end of the street, nor far to the side."""
    end_m = thing.z + thing.length - camera.z
    half_view_m = end_m * width / camera.focal_px
    return end_m > 1.2 and thing.z - camera.z < _SIGHT_M and abs(thing.x - camera.x) < half_view_m + 5


def _draw_ground(canvas: Canvas, street: Street) -> None:
    start, end = canvas.camera.z, canvas.camera.z + _FAR_M
    canvas.fill(_upright(street.hills, end)[None], _HILL, TREE)
    canvas.fill(_ground(-900, 900, start, end), _LAWN, GRASS)
    canvas.fill(_ground(-street.front, street.front, start, end), _SLABS, PAVEMENT)
    joints = np.ceil(start) + np.arange(1, 25)
    for side in (-1, 1):
        canvas.fill(
            _ground(side * street.kerb, side * street.front, joints, joints + 0.06),
            _JOINT,
            PAVEMENT,
        )
        middle = side * (street.kerb + street.front) / 2
        canvas.fill(_ground(middle, middle + 0.04, start, start + 30), _JOINT, PAVEMENT)
    kerb = street.kerb + 0.2
    canvas.fill(_ground(-kerb, kerb, start, end), _KERB, PAVEMENT)
    canvas.fill(_ground(-street.kerb, street.kerb, start, end), _ASPHALT, ROAD)
    _draw_marks(canvas, street)


def _draw_marks(canvas: Canvas, street: Street) -> None:
    """Repairs, dashes in the middle, lines along the kerbs and perhaps a crossing: all of them road."""
    start = canvas.camera.z
    for x, z, wide, long in street.patches:
        canvas.fill(_ground(x, x + wide, z, z + long), _REPAIR, ROAD)
    dashes = np.floor(start / 6) * 6 + 6.0 * np.arange(20)
    canvas.fill(_ground(-0.08, 0.08, dashes, dashes + 3), _WHITE, ROAD)
    for side in (-1, 1):
        edge = side * (street.kerb - 0.3)
        canvas.fill(_ground(edge - 0.06, edge + 0.06, start, start + 150), _WHITE * 0.85, ROAD)
    if street.crossing_z > start:
        bars = np.arange(-street.kerb + 0.5, street.kerb - 0.5, 1.0)
        canvas.fill(_ground(bars, bars + 0.5, street.crossing_z, street.crossing_z + 3), _WHITE, ROAD)


def _sky(light: Light, camera: Camera, height: int, width: int) -> UInt8Array:
    """Fade from zenith to haze, with clouds that flatten towards the horizon; haze below it."""
    rows = np.arange(min(int(camera.horizon_px) + 2, height), dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :] - np.float32(camera.centre_px)
    rise = np.maximum(np.float32(camera.horizon_px) - rows, 1) / np.float32(camera.focal_px)  # (h, 1)
    blend = np.clip(1 - rise / np.float32(0.45), 0, 1) ** np.float32(1.5)
    depth = 30 / (rise + np.float32(0.12))
    across = columns * depth / np.float32(camera.focal_px) + np.float32(90 * light.clouds)
    cloud = _tile_at(across, np.broadcast_to(depth, across.shape))  # (h, W)
    cover = np.clip(cloud * 0.9 + (light.clouds - 0.5), 0, 1) * (1 - np.float32(0.6) * blend)
    base = (light.zenith + (light.haze - light.zenith) * blend[..., None]).astype(np.float32)  # (h, 1, 3)
    sky_hwc = np.empty((height, width, 3), dtype=np.uint8)
    sky_hwc[:] = light.haze
    sky_hwc[: len(rows)] = base + (light.haze.astype(np.float32) - base) * cover[..., None]
    return sky_hwc


def _expose(rng: np.random.Generator, canvas: Canvas) -> UInt8Array:
    """Turn the drawing into a photograph: texture, colour of the light, lens blur, sensor noise."""
    gain_hw = 1 + _TEXTURE[canvas.labels_hw] * _surface_texture(canvas)
    picture = canvas.frame_hwc * gain_hw[..., None]
    picture *= canvas.light.tint.astype(np.float32)
    picture = cv2.GaussianBlur(picture, (3, 3), rng.uniform(0.3, 0.8))
    # The difference of two uniform bytes: close enough to normal, in a tenth of the time.
    noise = np.subtract(*rng.integers(0, 256, (2, *picture.shape), dtype=np.uint8), dtype=np.int16)
    picture += noise * np.float32(rng.uniform(0.015, 0.05))
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def _surface_texture(canvas: Canvas) -> npt.NDArray[np.float32]:
    """Texture in [-2, 2] or so, (H, W), fixed to the ground below the horizon and to the house fronts."""
    camera, labels_hw = canvas.camera, canvas.labels_hw
    rows = np.arange(labels_hw.shape[0], dtype=np.float32)[:, None] - np.float32(camera.horizon_px)
    columns = np.arange(labels_hw.shape[1], dtype=np.float32)[None, :] - np.float32(camera.centre_px)
    # Metres ahead per pixel, were it on the ground, or on a front 8 m to the side.
    ground_z = np.float32(camera.focal_px * camera.y) / np.maximum(rows, 0.5)
    wall_z = np.float32(camera.focal_px * 8) / np.maximum(np.abs(columns), 0.5)
    upright = (labels_hw == BUILDING) | (labels_hw == TREE)
    z = np.where(upright, wall_z, ground_z)
    other = np.where(upright, rows, columns) * z * np.float32(_TILE_PX_PER_M / camera.focal_px)
    # Far away the texture is finer than a pixel, and would only flicker.
    fade = np.where(upright, np.exp(wall_z / -40), np.exp(ground_z / -40))
    return _tile_at(other, (z + np.float32(camera.z)) * np.float32(_TILE_PX_PER_M)) * fade


def _tile_at(columns: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Look the noise up at any coordinates, in its pixels."""
    rows = np.ascontiguousarray(rows)
    return cv2.remap(_tile(), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


@functools.cache
def _tile() -> npt.NDArray[np.float32]:
    """Noise of all scales with unit variance that repeats without a seam, (256, 256)."""
    white = np.random.default_rng(7).standard_normal((_TILE_PX, _TILE_PX))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_TILE_PX), np.fft.fftfreq(_TILE_PX)))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(white) / frequency**1.1).real
    return (noise / noise.std()).astype(np.float32)
