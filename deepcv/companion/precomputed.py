"""The playground for a page without a kernel: every mask computed before, behind two sliders and three lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deepcv.companion.before_after import address, choice
from deepcv.companion.compute import sample_of
from deepcv.companion.experiments.playground import EXPERIMENT, MULTIPLES, Settings, latent_picture
from deepcv.companion.pictures import faded
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Store
from deepcv.methods import title

if TYPE_CHECKING:
    from pandas import DataFrame

_QUALITY = 55  # of WebP, 0..100; noisy pictures of a higher one would bloat the book


def precomputed(rows: DataFrame, settings: Settings, *, left: str, right: str) -> str:
    """HTML: two methods' masks side by side, with the noisy picture, its ground truth and our latent image.

    Parameters
    ----------
    rows : pandas.DataFrame
        From the experiment `playground`; the first seed is shown.
    settings : Settings
        Those of the rows.
    left, right : str
        The methods shown at first, "method:preset".
    """
    rows = rows[rows["seed"] == rows["seed"].iloc[0]].assign(name=full_names)
    sigmas = [f"{sigma:g}" for sigma in rows["sigma"].unique()]
    pictures: dict[str, dict[str, str]] = {}
    truths: dict[str, str] = {}
    masks: dict[str, list[str]] = {}
    with Store() as store:
        for row in rows.itertuples():
            sample, at = sample_of(row), f"{row.image} {row.sigma:g}"
            if at not in pictures:
                pictures[at] = {"noisy": address(sample.image, _QUALITY)}
                truths.setdefault(row.image, address(faded(sample_of(row).image, sample.mask), _QUALITY))
            shown = faded(sample.image, store.labels(row) == 1)
            nu = f"ν = {row.settings['nu']:.4g}" if row.nu else "no ν"
            masks[f"{at} {row.name} {row.nu}"] = [address(shown, _QUALITY), f"{nu}, F {row.f_measure:.2f}"]
    for item in EXPERIMENT.items(settings):
        at = f"{item.image} {item.conditions['sigma']:g}"
        if item.method == "deep-cv" and item.conditions["nu"] == "1" and item.seed == settings.seeds[0]:
            pictures[at]["latent"] = address(latent_picture(item, settings.device), _QUALITY)
    names = {name: title(name) for name in rows["name"].unique()}
    images = {image: image for image in truths}
    data = {"pictures": pictures, "truths": truths, "masks": masks, "names": names}
    data |= {"nus": list(MULTIPLES), "sigmas": sigmas}
    said = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    sliders = "".join(
        f'<label>{label} <input type="range" name="{name}" min="0" max="{len(values) - 1}" value="{at}">'
        f'<output name="{name}-shown"></output></label>'
        for name, label, values, at in (
            ("nu", "ν, times the method’s own", list(MULTIPLES), list(MULTIPLES).index("1")),
            ("sigma", "σ of the noise", sigmas, 0),
        )
    )
    figures = "".join(
        f'<figure data-shows="{name}"><img alt=""><figcaption></figcaption></figure>'
        for name in ("noisy", "left", "right", "truth", "latent")
    )
    return f"""<form class="playground" autocomplete="off">
<style>{_STYLE}</style>
<p>{choice("Picture", "image", images, next(iter(images)))}{choice("Left", "left", names, left)}
{choice("Right", "right", names, right)}</p>
<p>{sliders}</p>
<div class="views">{figures}</div>
<script type="application/json">{said}</script>
<script>{_SCRIPT}</script>
</form>"""


_STYLE = """
.playground label { display: inline-block; margin: 0 1rem 0.3rem 0; }
.playground input { width: 12rem; vertical-align: middle; }
.playground output { display: inline-block; min-width: 3rem; margin-left: 0.5rem; }
.playground .views { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr));
  gap: 1rem; }
.playground figure { margin: 0; }
.playground img { width: 100%; }
"""

_SCRIPT = """
{
  const form = document.currentScript.parentElement;
  const data = JSON.parse(form.querySelector('script[type="application/json"]').textContent);
  const { image, left, right, nu, sigma } = form.elements;
  const show = (name, address, said) => {
    const figure = form.querySelector(`[data-shows=${name}]`);
    figure.hidden = !address;
    if (!address) return;
    const [picture, caption] = figure.children;
    picture.src = address;
    picture.alt = caption.textContent = said;
  };
  const update = () => {
    const times = data.nus[nu.value], level = data.sigmas[sigma.value];
    form.elements["nu-shown"].value = times;
    form.elements["sigma-shown"].value = level;
    nu.setAttribute("aria-valuetext", `${times} times`);
    sigma.setAttribute("aria-valuetext", level);
    const at = `${image.value} ${level}`;
    const { noisy, latent } = data.pictures[at];
    show("noisy", noisy, `${image.value}, σ = ${level}`);
    show("truth", data.truths[image.value], "ground truth");
    show("latent", latent, "latent image of ours at its own ν: black -μ, white μ");
    for (const side of [left, right]) {
      const [address, said] = data.masks[`${at} ${side.value} ${times}`] ?? data.masks[`${at} ${side.value} `];
      show(side.name, address, `${data.names[side.value]}, ${said}`);
    }
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}
"""
