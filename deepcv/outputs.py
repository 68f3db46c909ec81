"""What is written of a segmentation: pictures, outlines, areas."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepcv.contours import Objects
from deepcv.errors import InputError
from deepcv.images import resize
from deepcv.pictures import outlined, picture_name, spread


@dataclass(frozen=True)
class Kind:
    """A kind of output."""

    suffixes: tuple[str, ...]
    """Allowed ones, the first in folders; empty: any picture."""
    why: str = ""
    """What other suffixes would lose."""


KINDS = {
    "out": Kind((".png", ".tif", ".tiff", ".bmp"), "a mask"),
    "overlay": Kind(()),
    "cutout": Kind((".png", ".tif", ".tiff", ".webp"), "transparency"),
    "soft": Kind((".png", ".tif", ".tiff"), "16 bits"),
    "objects": Kind((".tif", ".tiff", ".png"), "16 bits"),
    "geojson": Kind((".geojson", ".json"), "GeoJSON"),
}
"""By option: the outputs that each picture has of its own."""

COLUMNS = ("picture", "width", "height", "region", "pixels", "share", "objects", "largest", "confidence", "problem")
"""Of the table of areas. `largest` is the largest object's pixels; `confidence` is empty where it isn't known, as of
more than two regions; `problem` says why a picture has no mask."""


def check_suffix(kind: str, path: Path) -> None:
    """Raise `InputError` unless an output can be written under a name like this."""
    allowed = KINDS[kind].suffixes
    if allowed and path.suffix.lower() not in allowed:
        raise InputError(f"{KINDS[kind].why} can't be written to {path}; call it {picture_name(path)}{allowed[0]}")


def encoded(
    wanted: Mapping[str, Path],
    labels: np.ndarray,
    memberships: np.ndarray | None,
    pixels: np.ndarray,
    picture: str,
    objects: Objects,
    whole: Callable[[], np.ndarray] | None = None,
) -> Iterator[tuple[Path, np.ndarray | bytes]]:
    """Each output's path and content, for `deepcv.pictures.write_images`, the largest first.

    Parameters
    ----------
    wanted
        Paths by the keys of `KINDS`.
    labels : `(H, W)`
        Of the picture's full size; two regions unless "out" and "overlay" alone are wanted.
    memberships : `(N, h, w)`
        Of any size; for "soft" and, by their number, "out".
    pixels : `(H, W)` or `(H, W, 3)`, uint8
        The picture, for "overlay" of any size.
    picture
        Its name, in GeoJSON.
    objects
        Of the foreground.
    whole
        Reads the picture at full size for "cutout", if `pixels` aren't.
    """
    phases = 2 if memberships is None else len(memberships)
    if "cutout" in wanted:
        yield wanted["cutout"], _cut_out(whole() if whole else pixels, labels)
    if "out" in wanted:
        yield wanted["out"], spread(labels, phases)
    if "overlay" in wanted:
        yield wanted["overlay"], outlined(pixels, _nearest(labels, pixels.shape[:2]))
    if "soft" in wanted and memberships is not None:
        soft = np.rint(memberships[1] * np.float32(65535)).astype(np.uint16)
        yield wanted["soft"], resize(soft, labels.shape)
    if "objects" in wanted:
        if len(objects.boxes) >= 2**16:
            raise InputError(f"{picture} has {len(objects.boxes)} objects, too many for 16 bits; try a larger --nu")
        yield wanted["objects"], objects.labels.astype(np.uint16)
    if "geojson" in wanted:
        yield wanted["geojson"], json.dumps(geojson(objects, picture)).encode()


def _cut_out(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    import cv2

    found = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA if pixels.ndim == 3 else cv2.COLOR_GRAY2RGBA)
    return cv2.insertChannel(labels * np.uint8(255), found, 3)


def _nearest(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    if labels.shape == shape:
        return labels
    return cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def geojson(objects: Objects, picture: str) -> dict[str, Any]:
    """Objects as GeoJSON that QuPath reads: an annotation per object, corners in pixels.

    The corner (0, 0) is the upper left one of the upper left pixel. An object has the same id in each call.
    """
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{picture}#{number}")),
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": "annotation",
                "name": f"Object {number}",
                "classification": {"name": "Foreground", "color": [255, 225, 0]},
            },
        }
        for number, rings in enumerate(objects.outlines, start=1)
    ]
    return {"type": "FeatureCollection", "features": features}


def coco_objects(objects: Objects) -> list[dict[str, Any]]:
    """Objects as COCO annotations without ids: polygons, or run lengths of those with holes."""
    found, shape = [], objects.mask.shape
    for number, (rings, (*box, area)) in enumerate(zip(objects.outlines, objects.boxes.tolist(), strict=True), start=1):
        outline: Any = [[float(value) for corner in rings[0][:-1] for value in corner]]
        if len(rings) > 1:
            x, y, width, height = box
            inside = objects.labels[y : y + height, x : x + width] == number
            outline = {"size": list(shape), "counts": _run_lengths(inside, x, y, shape)}
        found.append({"category_id": 1, "segmentation": outline, "area": area, "bbox": box, "iscrowd": 0})
    return found


def _run_lengths(inside: np.ndarray, x: int, y: int, shape: tuple[int, ...]) -> list[int]:
    """COCO's run lengths, down the columns, background first, of a bool mask whose corner lies at (x, y)."""
    columns, rows = np.nonzero(inside.T)
    places = (columns + x) * shape[0] + rows + y
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[[0, *(breaks + 1)]], places[[*breaks, -1]] + 1
    runs = np.diff([0, *np.stack([starts, ends], 1).ravel(), shape[0] * shape[1]])
    return runs.tolist()


def coco(pictures: Mapping[str, tuple[tuple[int, int], list[dict[str, Any]]]]) -> dict[str, Any]:
    """A COCO file from each picture's shape `(H, W)` and `coco_objects`."""
    images, objects_of = [], list[dict[str, Any]]()
    for number, (name, ((height, width), found)) in enumerate(pictures.items(), start=1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        objects_of += [{"image_id": number, **each} for each in found]
    numbered = [{"id": number, **each} for number, each in enumerate(objects_of, start=1)]
    return {"images": images, "annotations": numbered, "categories": [{"id": 1, "name": "foreground"}]}


def areas(
    labels: np.ndarray, phases: int, picture: str, objects: Objects, confidence: float | None = None
) -> list[dict[str, Any]]:
    """Rows of the table of areas (`COLUMNS`): the foreground's, or of more than two regions each one's."""
    height, width = labels.shape
    rows = []
    for region in range(1 if phases == 2 else 0, phases):
        boxes = (objects if phases == 2 else Objects(labels == region)).boxes
        pixels = int(boxes[:, 4].sum())
        rows.append(
            {
                "picture": picture,
                "width": width,
                "height": height,
                "region": region,
                "pixels": pixels,
                "share": f"{pixels / labels.size:.6f}",
                "objects": len(boxes),
                "largest": int(boxes[:, 4].max(initial=0)),
                "confidence": "" if confidence is None else f"{confidence:.3f}",
            }
        )
    return rows
