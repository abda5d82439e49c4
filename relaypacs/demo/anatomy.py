"""A head that belongs to nobody: ellipsoids of tissue in Hounsfield units, after Shepp and Logan, with folds."""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[numpy.float32]

FIELD_OF_VIEW = 230.0  # mm across the longer side of a slice
LOWEST, HIGHEST = -46.0, 80.0  # mm along the body axis, skull base to near the vertex
AIR = -1000.0


@dataclass(frozen=True, slots=True)
class Organ:
    """One ellipsoid: centre and half axes in mm (x to the left, y to the back, z to the head), turned about z.

    `fold` is how far, as a share of its size, the outline follows the folds of the brain.
    """

    hounsfield: float
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    degrees: float = 0.0
    fold: float = 0.0


def _pair(
    hounsfield: float,
    centre: tuple[float, float, float],
    axes: tuple[float, float, float],
    *,
    degrees: float = 0.0,
    fold: float = 0.0,
) -> tuple[Organ, Organ]:
    x, y, z = centre
    left = Organ(hounsfield, centre, axes, degrees, fold)
    return left, Organ(hounsfield, (-x, y, z), axes, -degrees, fold)


HEAD: tuple[Organ, ...] = (
    Organ(-85, (0, 2, -6), (78.0, 97.0, 104.0)),  # fat under the skin
    Organ(35, (0, 2, -6), (75.5, 94.5, 101.5)),  # muscle and scalp
    Organ(1250, (0, 3, -6), (73.0, 91.0, 98.5)),  # outer table of the skull
    Organ(520, (0, 3, -6), (71.2, 89.0, 96.5)),  # diploe
    Organ(1200, (0, 3, -6), (69.0, 86.5, 94.5)),  # inner table
    Organ(7, (0, 3, -6), (67.0, 84.0, 92.5)),  # fluid around the brain
    *_pair(39, (31.5, 2, -4), (32.6, 81.5, 90.5), fold=0.045),  # grey matter, one hemisphere each
    *_pair(28, (30.0, 2, -2), (24.0, 70.0, 80.0), fold=0.22),  # white matter
    Organ(29, (0, 2, 12), (9.0, 24.0, 9.0)),  # corpus callosum
    *_pair(6, (9.5, -19, 14), (5.6, 18.0, 13.0), degrees=-17),  # frontal horns
    *_pair(6, (13.0, 7, 20), (6.0, 23.0, 8.5), degrees=9),  # bodies of the lateral ventricles
    *_pair(6, (21.5, 30, 8), (6.0, 18.0, 11.5), degrees=24),  # occipital horns
    *_pair(40, (15.0, -15, 6), (4.5, 10.0, 13.0), degrees=-24),  # caudate
    *_pair(41, (25.0, -4, 3), (6.0, 15.0, 12.0), degrees=-14),  # putamen and pallidum
    *_pair(39, (10.0, 11, 4), (7.5, 13.0, 11.0), degrees=20),  # thalamus
    Organ(6, (0, 4, 2), (2.3, 14.0, 11.0)),  # third ventricle
    Organ(145, (0, 24, 4), (2.2, 2.6, 3.4)),  # pineal calcification
    *_pair(150, (22.0, 31, 9), (2.4, 4.2, 4.2), degrees=24),  # choroid plexus calcification
    Organ(37, (0, 34, -40), (40.0, 30.0, 24.0), fold=0.06),  # cerebellum
    Organ(6, (0, 25, -37), (7.0, 5.0, 9.0)),  # fourth ventricle
    Organ(34, (0, 8, -42), (14.0, 13.0, 30.0)),  # brain stem
    *_pair(1350, (43.0, 4, -50), (24.0, 10.0, 14.0), degrees=-32),  # petrous bone
    *_pair(-860, (47.0, 12, -49), (9.0, 6.0, 8.0)),  # mastoid cells
    *_pair(900, (30.0, -68, -44), (24.0, 24.0, 17.0)),  # orbit walls
    *_pair(-90, (31.0, -74, -44), (20.5, 24.0, 14.5)),  # orbital fat
    *_pair(14, (32.0, -80, -44), (11.8, 12.0, 11.8)),  # eyes
    *_pair(95, (32.5, -90, -44), (4.6, 2.2, 4.6)),  # lenses
    *_pair(48, (27.0, -60, -44), (2.2, 12.0, 2.2), degrees=-12),  # optic nerves
    Organ(750, (0, -74, -42), (11.0, 22.0, 20.0)),  # ethmoid walls
    *_pair(-900, (4.6, -74, -43), (3.8, 18.0, 17.0)),  # ethmoid air
    *_pair(-950, (8.0, -85, -24), (7.0, 3.4, 9.0)),  # frontal sinus
    Organ(16, (-38, 26, 34), (19.0, 18.0, 15.0), fold=0.30),  # swelling around the lesion
    Organ(68, (-39, 26, 34), (9.5, 8.5, 8.0), fold=0.18),  # the lesion: a small bleed
)
FALX_THICKNESS = 0.9  # mm
FALX = Organ(62, (0, 6, 30), (FALX_THICKNESS, 80.0, 62.0))
CALLOSUM_REACH = 30.0  # mm: the falx ends where the hemispheres join


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of one slice lie, in mm; made once and shared by all slices."""

    x: Plane
    y: Plane
    spacing: float

    @classmethod
    def of(cls, rows: int, columns: int) -> "Grid":
        spacing = FIELD_OF_VIEW / max(rows, columns)
        y, x = numpy.meshgrid(
            (numpy.arange(rows, dtype=numpy.float32) - (rows - 1) / 2) * spacing,
            (numpy.arange(columns, dtype=numpy.float32) - (columns - 1) / 2) * spacing,
            indexing="ij",
        )
        return cls(x=x, y=y, spacing=spacing)


class Head:
    """Slices of the phantom: the same seed gives the same head, fold for fold and grain for grain."""

    def __init__(self, rows: int, columns: int, *, seed: int) -> None:
        self.grid = Grid.of(rows, columns)
        self._random = numpy.random.default_rng(seed)
        self._knots = self._random.uniform(-1, 1, (12, 26, 26)).astype(numpy.float32)
        self._grain = self._noise_tile(rows, columns)

    def slice_at(self, z: float) -> Plane:
        """Hounsfield units without noise, `z` mm along the body axis."""
        plane = numpy.full(self.grid.x.shape, AIR, dtype=numpy.float32)
        folds = self._folds(z)
        for organ in HEAD:
            self._paint(plane, organ, z=z, folds=folds)
        self._paint_falx(plane, z)
        self._paint_head_rest(plane)
        return plane

    def grain(self) -> Plane:
        """Quantum noise for one slice, in HU: one tile, laid differently each time, which costs next to nothing."""
        down, right = self._random.integers(0, self._grain.shape[0]), self._random.integers(0, self._grain.shape[1])
        return numpy.roll(self._grain, (int(down), int(right)), axis=(0, 1))

    def _noise_tile(self, rows: int, columns: int) -> Plane:
        white = self._random.standard_normal((rows, columns), dtype=numpy.float32)
        soft = (
            white + 0.6 * (numpy.roll(white, 1, 0) + numpy.roll(white, 1, 1)) + 0.35 * numpy.roll(white, (1, 1), (0, 1))
        )
        return numpy.asarray(soft * (2.6 / soft.std()), dtype=numpy.float32)

    def _folds(self, z: float) -> Plane:
        """A smooth field in about -1…1 that changes slowly from slice to slice; its ridges are the sulci."""
        place = (z - LOWEST) / (HIGHEST - LOWEST) * (len(self._knots) - 1)
        below = int(numpy.clip(numpy.floor(place), 0, len(self._knots) - 2))
        share = float(numpy.clip(place - below, 0, 1))
        knots = self._knots[below] * (1 - share) + self._knots[below + 1] * share
        rows, columns = self.grid.x.shape
        resized = Image.fromarray(knots).resize((columns, rows), Image.Resampling.BICUBIC)
        return numpy.asarray(resized, dtype=numpy.float32)

    def _paint(self, plane: Plane, organ: Organ, *, z: float, folds: Plane) -> None:
        (cx, cy, cz), (ax, ay, az) = organ.centre, organ.axes
        height = ((z - cz) / az) ** 2
        if height >= 1:
            return
        turn = numpy.deg2rad(organ.degrees)
        x, y = self.grid.x - cx, self.grid.y - cy
        along = (x * numpy.cos(turn) + y * numpy.sin(turn)) / ax
        across = (y * numpy.cos(turn) - x * numpy.sin(turn)) / ay
        radius = numpy.sqrt(along**2 + across**2 + height)
        if organ.fold:
            radius = radius + organ.fold * (2 * numpy.abs(folds) - 0.6)
        edge = max(self.grid.spacing, 0.7) / min(ax, ay)
        share = numpy.clip((1 - radius) / edge + 0.5, 0, 1)
        plane += share * (numpy.float32(organ.hounsfield) - plane)

    def _paint_falx(self, plane: Plane, z: float) -> None:
        brain = (plane > 0) & (plane < 60)
        (_, cy, cz), (_, ay, az) = FALX.centre, FALX.axes
        reach = ((self.grid.y - cy) / ay) ** 2 + ((z - cz) / az) ** 2 < 1
        apart = ((self.grid.y - 2) / 46) ** 2 + ((z - 8) / CALLOSUM_REACH) ** 2 > 1
        share = numpy.clip(1.3 - numpy.abs(self.grid.x) / FALX_THICKNESS, 0, 1) * (brain & reach & apart)
        plane += share * (numpy.float32(FALX.hounsfield) - plane)

    def _paint_head_rest(self, plane: Plane) -> None:
        """The cradle the head lies in: a thin shell with foam inside, as every CT shows it."""
        radius = numpy.hypot(self.grid.x, self.grid.y + 2)
        low = self.grid.y > 48
        for inner, outer, hounsfield in ((103.0, 110.0, -870.0), (110.0, 112.0, 60.0)):
            plane[(radius > inner) & (radius < outer) & low & (plane < -900)] = hounsfield
