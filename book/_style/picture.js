// @ts-check
"use strict";

/**
 * The page “Your own picture”: reads a picture, lets the worker solve it from the hint of hint.js, shows what it found, and writes it. Nothing leaves the browser.
 */
{
  const WORKING_SIDE = 256; // pixels on the longer side of the picture that is solved
  const SHOWN_SIDE = 800; // of the picture on the page
  const MOST_PIXELS = 16e6; // of the files that are written; telephones have no larger canvas
  const SMALLEST_SIDE = 8; // as in deepcv.images
  const PEN = 2.5; // radius in working pixels
  const COLOURS = { object: [0, 114, 255], background: [255, 120, 0], contour: [255, 225, 0] };
  /** What the slider's ν counts, where it stands at first, and what the method goes through. */
  const METHODS = {
    "chan-vese": { unit: 1, exponent: "-2", parts: "steps" },
    ridge: { unit: 600, exponent: "0", parts: "rounds" },
    network: { unit: 0, exponent: "0", parts: "pass" }, // which takes neither ν nor a hint
  };
  const NO_MEMORY = "the browser has no memory left for a picture of this size";
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  /** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
  const element = (id, type) => {
    const found = document.getElementById(id);
    if (!(found instanceof type)) throw new Error(`the page has no ${type.name} “${id}”`);
    return found;
  };
  const canvas = element("picture-canvas", HTMLCanvasElement);
  const slider = element("picture-nu", HTMLInputElement);
  const thresholds = element("picture-threshold", HTMLInputElement);
  const form = element("picture", HTMLFormElement);

  /** The file's picture at its own size, on white. @type {HTMLCanvasElement} */
  let full;
  let fileName = "";
  /** @type {Picture} */
  let picture;
  /** @type {Uint8Array} */
  let strokes;
  /** @type {{left: number, top: number, right: number, bottom: number} | null} */
  let box = null;
  /** @type {Hint} */
  let known;
  /** Positive in the object: as last heard from the worker, or the start. @type {Float32Array} */
  let field;
  let swapped = false;
  let newest = 0; // number of the last problem
  let opening = 0; // number of the last file
  const worker = startWorker();

  // -- reading -------------------------------------------------------------------------------------------------------

  /** @param {number} width @param {number} height */
  function blank(width, height) {
    const made = document.createElement("canvas");
    [made.width, made.height] = [width, height];
    return made;
  }

  /** @param {HTMLCanvasElement} of @returns {CanvasRenderingContext2D} */
  function drawing(of) {
    const context = of.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error(NO_MEMORY);
    return context;
  }

  /** @param {unknown} error */
  const reason = (error) => (error instanceof Error ? error.message : String(error));

  /** A copy in a canvas. @param {CanvasImageSource} source @param {number} width @param {number} height */
  function copy(source, width, height) {
    const made = blank(width, height);
    const context = drawing(made);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, width, height);
    return made;
  }

  /** @param {HTMLCanvasElement} of */
  const pixelsOf = (of) => drawing(of).getImageData(0, 0, of.width, of.height);

  /** Width and height for a longer side. @param {{width: number, height: number}} size @param {number} longer */
  function scaled({ width, height }, longer) {
    const scale = longer / Math.max(width, height);
    return [width, height].map((side) => Math.max(SMALLEST_SIDE, Math.round(side * scale)));
  }

  /** A picture to solve, grey if all colours are. @param {HTMLCanvasElement} from @returns {Picture} */
  function asPicture(from) {
    const { width, height, data } = pixelsOf(from);
    const pixels = Array.from({ length: width * height }, (_, pixel) => 4 * pixel);
    const grey = pixels.every((at) => data[at] === data[at + 1] && data[at] === data[at + 2]);
    const channels = grey ? 1 : 3;
    const image = new Float32Array(width * height * channels);
    pixels.forEach((at, pixel) => {
      for (let c = 0; c < channels; c++) image[pixel * channels + c] = data[at + c] / 255;
    });
    return { width, height, channels, image };
  }

  /** Reads a file and solves it, or says why not. @param {Blob} file @param {string} name */
  async function open(file, name) {
    const number = ++opening;
    /** @type {ImageBitmap} */
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      say("picture-file", `“${name}” is no picture that this browser can read; take a JPEG, PNG or WebP file.`);
      return;
    }
    try {
      if (number === opening) take(bitmap, name);
    } catch (error) {
      say("picture-file", `“${name}”: ${reason(error)}.`);
    } finally {
      bitmap.close();
    }
  }

  /** Prepares a picture and solves it, or says why not. @param {ImageBitmap} bitmap @param {string} name */
  function take(bitmap, name) {
    const { width, height } = bitmap;
    if (Math.min(width, height) < SMALLEST_SIDE) {
      say("picture-file", `“${name}” has ${width} × ${height} pixels; both sides need at least ${SMALLEST_SIDE}.`);
      return;
    }
    const remarks = [`“${name}”, ${width} × ${height} pixels`];
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    const size = [width, height].map((side) => Math.max(SMALLEST_SIDE, Math.round(side * scale)));
    if (size[0] < width) remarks.push(`reduced to ${size.join(" × ")}, since larger ones don't fit into every browser`);
    const read = copy(bitmap, size[0], size[1]);
    const working = scaled(read, Math.min(WORKING_SIDE, Math.max(...size)));
    const small = copy(read, working[0], working[1]);
    if (pixelsOf(small).data.some((value, index) => index % 4 === 3 && value < 255))
      remarks.push("what is transparent in it counts as white");
    for (const each of [read, small]) {
      const context = drawing(each);
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "white";
      context.fillRect(0, 0, each.width, each.height);
    }
    const found = asPicture(small);
    if (found.image.every((value, index) => value === found.image[index % found.channels])) {
      say("picture-file", `“${name}” has one colour, so there is nothing to segment.`);
      return;
    }
    if (working[0] < size[0]) remarks.push(`solved at ${working.join(" × ")}`);
    [full, picture, fileName, swapped] = [read, found, name.replace(/\.\w+$/, ""), false];
    [canvas.width, canvas.height] = scaled(read, SHOWN_SIDE);
    [cursor.x, cursor.y] = working.map((side) => side >> 1);
    say("picture-file", `${remarks.join("; ")}.`);
    clear();
  }

  /** A picture to begin with: three coins on a table, with noise. */
  async function openExample() {
    const made = blank(240, 180);
    const context = drawing(made);
    const light = context.createLinearGradient(0, 0, 240, 180);
    light.addColorStop(0, "#d8cdb8");
    light.addColorStop(1, "#a5977c");
    context.fillStyle = light;
    context.fillRect(0, 0, 240, 180);
    context.fillStyle = "#7a4a2b";
    for (const [x, y, radius] of [[82, 80, 42], [166, 66, 30], [150, 130, 24]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    const pixels = pixelsOf(made);
    let state = 1;
    for (let at = 0; at < pixels.data.length; at++) {
      state = (state * 48271) % 2147483647; // Lehmer's generator: the same noise each time
      if (at % 4 < 3) pixels.data[at] += 160 * (state / 2147483647 - 0.5);
    }
    context.putImageData(pixels, 0, 0);
    const file = await new Promise((resolve) => made.toBlob(resolve));
    await open(file, "example.png");
  }

  // -- solving -------------------------------------------------------------------------------------------------------

  const method = () => METHODS[/** @type {keyof typeof METHODS} */ (chosen("method"))];

  /** From 1/64 to 64 units, in steps of a quarter of an octave. */
  const nu = () => method().unit * 2 ** Number(slider.value);

  function clear() {
    strokes = new Uint8Array(picture.width * picture.height);
    box = null;
    restart();
  }

  /** Finds the hint anew, and solves from there. */
  function restart() {
    known = hintFrom(picture, strokes, box);
    thresholds.value = String(known.threshold);
    startOver();
  }

  function startOver() {
    field = known.hint.map((value) => (value >= known.threshold ? 1 : -1));
    solve();
  }

  /** @type {Promise<Weights> | undefined} */
  let weights;

  /** The trained network, from a script of its own, which is loaded when it is first asked for. */
  function network() {
    weights ??= new Promise((resolve) => {
      Object.assign(window, { receiveNetwork: resolve });
      const script = document.createElement("script");
      script.src = "_static/trained_network.js";
      script.onerror = () => {
        weights = undefined; // so that it can be asked for again
        form.setAttribute("aria-busy", "false");
        say("picture-result", "The network's file is missing beside this page.");
      };
      document.head.append(script);
    }).then(TrainedNetwork.read);
    return weights;
  }

  async function solve() {
    const id = ++newest;
    slider.disabled = thresholds.disabled = !method().unit;
    const label = method().unit ? nu().toLocaleString("en", { maximumSignificantDigits: 3 }) : "–";
    element("picture-nu-value", HTMLOutputElement).value = label;
    slider.setAttribute("aria-valuetext", label);
    element("picture-threshold-value", HTMLOutputElement).value = known.threshold.toFixed(2);
    form.setAttribute("aria-busy", "true");
    show();
    const more = method().unit ? {} : { weights: await network() };
    if (id === newest) worker.postMessage({ id, method: chosen("method"), nu: nu(), ...picture, ...known, ...more });
  }

  /** @param {MessageEvent<Answer>} message */
  worker.onmessage = ({ data }) => {
    if (data.id !== newest) return;
    field = data.field;
    show();
    if (!data.done) return;
    form.setAttribute("aria-busy", "false");
    const share = field.filter((value) => value > 0 !== swapped).length / field.length;
    const time = `${data.steps} ${method().parts} in ${Math.round(data.milliseconds)} ms`;
    say("picture-result", `The object takes ${(100 * share).toFixed(1)} % of the picture; ${time}.`);
  };

  // -- showing -------------------------------------------------------------------------------------------------------

  /** @param {string} id @param {string} text */
  function say(id, text) {
    element(id, HTMLParagraphElement).textContent = text;
  }

  /** @param {string} name */
  const chosen = (name) => String(new FormData(form).get(name));

  /**
   * A field at another size, where it is positive: 1, elsewhere 0. Between its pixels it is bilinear.
   *
   * @param {Float32Array} field of the working picture
   * @param {number} width
   * @param {number} height
   */
  function positive(field, width, height) {
    const values = field.map((value) => Math.min(Math.max(value, -1), 1)); // φ may grow without bound
    const found = TrainedNetwork.resized({ width: picture.width, height: picture.height, values }, width, height);
    const mask = new Uint8Array(width * height);
    found.values.forEach((value, pixel) => (mask[pixel] = Number(value > 0)));
    return mask;
  }

  /** The hint as a grey picture. */
  function hintPicture() {
    const made = blank(picture.width, picture.height);
    const pixels = pixelsOf(made);
    known.hint.forEach((value, pixel) => pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * pixel));
    drawing(made).putImageData(pixels, 0, 0);
    return made;
  }

  /**
   * What is seen, or written to a file; returns the mask, 1 in the object.
   *
   * @param {string} view "contour", "overlay", "mask", "cut-out" or "hint"
   * @param {HTMLCanvasElement} target
   */
  function paint(view, target) {
    const { width, height } = target;
    const mask = positive(field, width, height).map((inside) => (swapped ? 1 - inside : inside));
    const context = drawing(target);
    context.clearRect(0, 0, width, height);
    context.drawImage(view === "hint" ? hintPicture() : full, 0, 0, width, height);
    if (view === "contour" || view === "hint") return mask;
    const pixels = context.getImageData(0, 0, width, height);
    for (let pixel = 0; pixel < mask.length; pixel++) {
      const at = 4 * pixel;
      if (view === "mask") pixels.data.fill(255 * mask[pixel], at, at + 3);
      else if (view === "cut-out") pixels.data[at + 3] = 255 * mask[pixel];
      else if (!mask[pixel]) for (let c = 0; c < 3; c++) pixels.data[at + c] = 0.3 * pixels.data[at + c] + 0.7 * 255;
    }
    context.putImageData(pixels, 0, 0);
    return mask;
  }

  let isWaiting = false;

  /** Shows what is the case by the time the screen is next drawn. */
  function show() {
    if (!isWaiting) requestAnimationFrame(showNow);
    isWaiting = true;
  }

  function showNow() {
    isWaiting = false;
    const { width, height } = canvas;
    const view = chosen("view");
    const mask = paint(view, canvas);
    const context = drawing(canvas);
    if (view === "contour" || view === "overlay") {
      const edge = [];
      for (let pixel = 0; pixel < mask.length; pixel++)
        if (mask[pixel] !== mask[pixel + 1] && (pixel + 1) % width) edge.push(pixel);
        else if (pixel + width < mask.length && mask[pixel] !== mask[pixel + width]) edge.push(pixel);
      // a dark rim makes it visible on any picture
      for (const [colour, reach] of /** @type {[string, number][]} */ ([["black", 2], [rgb("contour"), 1]])) {
        context.fillStyle = colour;
        for (const pixel of edge)
          context.fillRect((pixel % width) - reach, Math.floor(pixel / width) - reach, 2 * reach + 1, 2 * reach + 1);
      }
    }
    const across = width / picture.width, down = height / picture.height;
    strokes.forEach((side, pixel) => {
      if (!side) return;
      context.fillStyle = rgb(side === OBJECT ? "object" : "background", 0.6);
      const x = pixel % picture.width, y = Math.floor(pixel / picture.width);
      context.fillRect(x * across, y * down, across, down);
    });
    if (box) {
      context.strokeStyle = rgb("background");
      context.lineWidth = 4;
      const { left, top, right, bottom } = box;
      context.strokeRect(left * across, top * down, (right - left + 1) * across, (bottom - top + 1) * down);
    }
    if (document.activeElement === canvas) drawCross(context, (cursor.x + 0.5) * across, (cursor.y + 0.5) * down);
  }

  /** @param {keyof typeof COLOURS} name @param {number} opacity */
  const rgb = (name, opacity = 1) => `rgb(${COLOURS[name].join(" ")} / ${opacity})`;

  /** Where a key would draw. @param {CanvasRenderingContext2D} context @param {number} x @param {number} y */
  function drawCross(context, x, y) {
    for (const [colour, width] of /** @type {[string, number][]} */ ([["black", 6], ["white", 2]])) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 14, y);
      context.lineTo(x + 14, y);
      context.moveTo(x, y - 14);
      context.lineTo(x, y + 14);
      context.stroke();
    }
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  /** The pixel at which is drawn, by pointer or keys. */
  const cursor = { x: WORKING_SIDE / 2, y: WORKING_SIDE / 2 };
  /** Where the pen came down, or null while it is up. @type {{x: number, y: number} | null} */
  let down = null;

  /** @param {number} x @param {number} y */
  function moveTo(x, y) {
    const from = { ...cursor };
    cursor.x = Math.min(Math.max(Math.round(x), 0), picture.width - 1);
    cursor.y = Math.min(Math.max(Math.round(y), 0), picture.height - 1);
    if (down && chosen("tool") === "box") {
      box = {
        left: Math.min(down.x, cursor.x),
        right: Math.max(down.x, cursor.x),
        top: Math.min(down.y, cursor.y),
        bottom: Math.max(down.y, cursor.y),
      };
    } else if (down) {
      const parts = Math.max(1, Math.hypot(cursor.x - from.x, cursor.y - from.y));
      for (let part = 0; part <= parts; part++)
        dot(from.x + ((cursor.x - from.x) * part) / parts, from.y + ((cursor.y - from.y) * part) / parts);
    }
    show();
  }

  /** @param {number} x @param {number} y */
  function dot(x, y) {
    const { width, height } = picture;
    const side = chosen("tool") === "object" ? OBJECT : BACKGROUND;
    for (let row = Math.max(0, Math.ceil(y - PEN)); row <= Math.min(y + PEN, height - 1); row++)
      for (let column = Math.max(0, Math.ceil(x - PEN)); column <= Math.min(x + PEN, width - 1); column++)
        if (Math.hypot(column - x, row - y) <= PEN) strokes[row * width + column] = side;
  }

  function penDown() {
    down = { ...cursor };
    moveTo(cursor.x, cursor.y);
  }

  function penUp() {
    if (!down) return;
    down = null;
    if (box && Math.min(box.right - box.left, box.bottom - box.top) < 2) box = null; // a click, no box
    restart();
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  function placeOf(event) {
    const shown = canvas.getBoundingClientRect();
    const x = (event.clientX - shown.left) / shown.width, y = (event.clientY - shown.top) / shown.height;
    return [x * picture.width - 0.5, y * picture.height - 0.5];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return; // only the first one draws
    canvas.setPointerCapture(event.pointerId);
    moveTo(...placeOf(event));
    penDown();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (down && event.buttons) moveTo(...placeOf(event));
  });
  canvas.addEventListener("pointerup", penUp);
  canvas.addEventListener("pointercancel", penUp);
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") down ? penUp() : penDown();
    else if (event.key in ARROWS) {
      const [dx, dy] = ARROWS[/** @type {keyof typeof ARROWS} */ (event.key)];
      const reach = event.shiftKey ? 1 : 5;
      moveTo(cursor.x + reach * dx, cursor.y + reach * dy);
    } else return;
    event.preventDefault();
  });
  canvas.addEventListener("focus", show);
  canvas.addEventListener("blur", () => (down ? penUp() : show()));

  // -- the controls --------------------------------------------------------------------------------------------------

  /** @param {FileList | undefined | null} files */
  function openFirst(files) {
    const file = files?.[0];
    if (file) open(file, file.name || "your picture");
    return Boolean(file);
  }

  for (const id of ["picture-choose", "picture-photograph"]) {
    const input = element(id, HTMLInputElement);
    input.addEventListener("change", () => {
      openFirst(input.files);
      input.value = ""; // the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    if (openFirst(event.clipboardData?.files)) event.preventDefault();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    openFirst(event.dataTransfer?.files);
  });
  slider.addEventListener("input", solve);
  thresholds.addEventListener("input", () => {
    known = { ...known, threshold: Number(thresholds.value) };
    startOver();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (!(event.target instanceof HTMLInputElement)) return;
    if (event.target.name === "view") show();
    if (event.target.name !== "method") return;
    slider.value = method().exponent;
    startOver();
  });

  /** Writes a file, or says why not. @param {string} view */
  async function write(view) {
    try {
      const target = blank(full.width, full.height);
      paint(view, target);
      /** @type {Blob | null} */
      const file = await new Promise((resolve) => target.toBlob(resolve));
      if (!file) throw new Error(NO_MEMORY);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(file);
      link.download = `${fileName}-${view}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers read it late
    } catch (error) {
      say("picture-result", `Not written: ${reason(error)}.`);
    }
  }

  /** @type {Record<string, () => void>} */
  const actions = {
    example: openExample,
    clear,
    swap: () => {
      swapped = !swapped;
      solve();
    },
    "write-mask": () => write("mask"),
    "write-cut-out": () => write("cut-out"),
    "write-hint": () => write("hint"),
  };
  for (const [name, action] of Object.entries(actions))
    element(`picture-${name}`, HTMLButtonElement).addEventListener("click", action);

  openExample();
}
