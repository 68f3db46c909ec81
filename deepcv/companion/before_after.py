"""Two views of a picture under one slider, for a page without a kernel: the book's first picture."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import TYPE_CHECKING

import numpy as np

from deepcv.companion.compute import sample_of
from deepcv.companion.pictures import faded
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Store
from deepcv.methods import title

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURE = "the picture"


def before_after(rows: DataFrame, *, left: str, right: str) -> str:
    """HTML: choose a picture and, for each side of a slider, the picture itself or a method's mask.

    Parameters
    ----------
    rows : pandas.DataFrame
        From a store, a mask per image and method, with `f_measure`; every method has every image.
    left, right : str
        What the sides show at first: `PICTURE` or "method:preset".
    """
    rows = rows.assign(name=full_names(rows))
    views: dict[str, dict[str, tuple[str, str]]] = {}
    with Store() as store:
        for row in rows.itertuples():
            sample = sample_of(row)
            shown = views.setdefault(row.image, {PICTURE: (address(sample.image), "")})
            shown[row.name] = address(faded(sample.image, store.labels(row) == 1)), f", F {row.f_measure:.2f}"
    names = {PICTURE: PICTURE} | {name: title(name) for name in rows["name"].unique()}
    first = next(iter(views))
    picture = choice("Picture", "picture", {each: each for each in views}, first)
    sides = "".join(
        choice(f"{side.title()} of the line", side, names, at) for side, at in (("left", left), ("right", right))
    )
    data = json.dumps({"views": views, "names": names}).replace("<", "\\u003c")
    return f"""<div class="before-after">
<style>{_STYLE}</style>
<p>{picture}{sides}</p>
<div class="views"><img alt=""><img alt=""></div>
<label>Move the line <input type="range" min="0" max="100" value="50"></label>
<p class="said" role="status"></p>
<script type="application/json">{data}</script>
<script>{_SCRIPT}</script>
</div>"""


def address(picture: np.ndarray, quality: int = 70) -> str:
    """A picture as an address that holds it, WebP of a quality of 0 to 100; uint8 `(H, W)` or `(H, W, 3)`.

    The book's build puts what is in such an address into a file (`book/_ext/offline.py`).
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "webp", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def choice(label: str, name: str, entries: dict[str, str], chosen: str) -> str:
    """HTML of a labelled list to choose from: what is shown of each entry, by its value."""
    options = "".join(
        f'<option value="{html.escape(value)}"{" selected" if value == chosen else ""}>{html.escape(shown)}</option>'
        for value, shown in entries.items()
    )
    return f'<label>{label} <select name="{name}">{options}</select></label> '


_STYLE = """
.before-after { max-width: 34rem; margin: 0 auto 1.5rem; }
.before-after label { display: inline-block; margin: 0 1rem 0.3rem 0; }
.before-after .views { display: grid; position: relative; max-width: 22rem; cursor: ew-resize; touch-action: pan-y; }
.before-after .views::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px;
  background: #fff; box-shadow: 0 0 2px #000; }
.before-after .views img { grid-area: 1 / 1; width: 100%; margin: 0; user-select: none; pointer-events: none; }
.before-after input { width: 12rem; vertical-align: middle; }
"""

_SCRIPT = """
{
  const box = document.currentScript.parentElement;
  const { views, names } = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  const [below, above] = box.querySelectorAll("img");
  const pictures = box.querySelector(".views");
  const line = box.querySelector("input");
  const chosen = (name) => box.querySelector(`select[name=${name}]`).value;
  const show = () => {
    const picture = chosen("picture");
    const said = [["left", above], ["right", below]].map(([side, image]) => {
      const [address, score] = views[picture][chosen(side)];
      image.src = address;
      image.alt = `${picture}: ${names[chosen(side)]}${score}`;
      return `${side}: ${names[chosen(side)]}${score}`;
    });
    box.querySelector(".said").textContent = said.join("; ");
    move();
  };
  const move = () => {
    above.style.clipPath = `inset(0 ${100 - line.value}% 0 0)`;
    pictures.style.setProperty("--at", `${line.value}%`);
  };
  const drag = (event) => {
    if (!(event.buttons & 1)) return;
    const { left, width } = pictures.getBoundingClientRect();
    line.value = (100 * (event.clientX - left)) / width;
    move();
  };
  box.addEventListener("change", show);
  line.addEventListener("input", move);
  pictures.addEventListener("pointerdown", drag);
  pictures.addEventListener("pointermove", drag);
  show();
}
"""
