// @ts-check
"use strict";

/**
 * A picture at the size at which it is solved.
 *
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 (grey) or 3
 * @property {Float32Array} image colours in [0, 1], pixel by pixel in reading order
 */

/**
 * What is believed before a picture is segmented.
 *
 * @typedef {object} Hint
 * @property {Float32Array} hint in [0, 1], high on the presumed object, pixel by pixel in reading order
 * @property {number} threshold the object starts where the hint is at least this
 * @property {Uint8Array} held 1 where the start is final; all 0 in the Python package
 *
 * @typedef {Picture & Hint} Problem
 */

/**
 * The hint if nobody computes a saliency map: how far in colour from the picture's frame, or how much nearer to the
 * strokes on the object than to those on the background and to the frame.
 */

const OBJECT = 1, BACKGROUND = 2; // in an array of strokes; 0 elsewhere

/** The Euclidean distance of two pixels' colours. @param {Picture} picture @param {number} p @param {number} q */
function colourDistance({ image, channels }, p, q) {
  let squares = 0;
  for (let c = 0; c < channels; c++) {
    const difference = image[p * channels + c] - image[q * channels + c];
    squares += difference * difference;
  }
  return Math.sqrt(squares);
}

/** The pixels on the picture's frame. @param {Picture} picture @returns {number[]} */
function framePixels({ width, height }) {
  const pixels = [];
  for (let x = 0; x < width; x++) pixels.push(x, (height - 1) * width + x);
  for (let y = 1; y < height - 1; y++) pixels.push(y * width, (y + 1) * width - 1);
  return pixels;
}

/**
 * How much each pixel stands out: its colour's distance from the mean colour of the frame, times a Gaussian about the
 * middle of the picture, since few objects stand at its edge. In [0, 1], in the steps that a file of 8 bits has.
 *
 * @param {Picture} picture
 */
function distanceFromFrame(picture) {
  const { width, height, channels, image } = picture;
  const frame = framePixels(picture);
  const mean = new Float64Array(channels);
  for (const pixel of frame) for (let c = 0; c < channels; c++) mean[c] += image[pixel * channels + c] / frame.length;
  const values = new Float32Array(width * height);
  for (let y = 0, pixel = 0; y < height; y++) {
    for (let x = 0; x < width; x++, pixel++) {
      let squares = 0;
      for (let c = 0; c < channels; c++) squares += (image[pixel * channels + c] - mean[c]) ** 2;
      const across = (2 * x + 1) / width - 1, down = (2 * y + 1) / height - 1; // from -1 to 1
      values[pixel] = Math.sqrt(squares) * Math.exp(-2 * (across * across + down * down));
    }
  }
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  return values.map((value) => Math.round((255 * value) / high) / 255);
}

/** The threshold that separates two groups of values in [0, 1] best (Otsu, 1979). @param {Float32Array} values */
function otsuThreshold(values) {
  const bins = 256;
  const counts = new Float64Array(bins);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(value * bins))]++;
  const whole = counts.reduce((sum, count, bin) => sum + count * bin, 0);
  let below = 0, sumBelow = 0, best = 0, threshold = 0;
  for (let bin = 0; bin < bins - 1; bin++) {
    below += counts[bin];
    sumBelow += counts[bin] * bin;
    const above = values.length - below;
    if (!below || !above) continue;
    const between = below * above * (sumBelow / below - (whole - sumBelow) / above) ** 2;
    if (between > best) [best, threshold] = [between, (bin + 0.5) / bins];
  }
  return threshold;
}

/**
 * The length of the shortest way from each pixel to one of the given, where a change of colour is a long way; by sweeps
 * over the picture, so approximately.
 *
 * @param {Picture} picture
 * @param {Iterable<number>} pixels
 */
function distanceTo(picture, pixels) {
  const { width, height } = picture;
  const step = 0.01; // a way through one colour is not for nothing
  const distance = new Float32Array(width * height).fill(Infinity);
  for (const pixel of pixels) distance[pixel] = 0;
  for (let sweep = 0; sweep < 6; sweep++) {
    const sense = sweep % 2 ? -1 : 1; // from the first pixel, then from the last
    for (let count = 0; count < width * height; count++) {
      const pixel = sense > 0 ? count : width * height - 1 - count;
      const x = pixel % width;
      for (const [dx, dy] of [[-1, 0], [-1, -1], [0, -1], [1, -1]]) {
        const other = pixel + sense * (dx + dy * width);
        const beside = x + sense * dx;
        if (beside < 0 || beside >= width || other < 0 || other >= width * height) continue;
        const way = distance[other] + step + colourDistance(picture, pixel, other);
        if (way < distance[pixel]) distance[pixel] = way;
      }
    }
  }
  return distance;
}

/**
 * What the picture, strokes and a box say. On strokes and outside the box it is final; in the box nothing is believed
 * but that the object is there.
 *
 * @param {Picture} picture
 * @param {Uint8Array} strokes OBJECT, BACKGROUND or 0 for each pixel
 * @param {{left: number, top: number, right: number, bottom: number} | null} box in pixels, its edges included
 * @returns {Hint}
 */
function hintFrom(picture, strokes, box) {
  const { width } = picture;
  const isOutside = strokes.map((_, pixel) => {
    const x = pixel % width, y = Math.floor(pixel / width);
    return Number(box !== null && (x < box.left || x > box.right || y < box.top || y > box.bottom));
  });
  const held = strokes.map((stroke, pixel) => Number(stroke > 0 || isOutside[pixel]));
  const pixels = Array.from(strokes.keys());
  const drawn = pixels.filter((pixel) => strokes[pixel] === OBJECT);
  let hint = new Float32Array(strokes.length).fill(0.5), threshold = 0.5;
  if (drawn.length) {
    const others = pixels.filter((pixel) => strokes[pixel] === BACKGROUND || isOutside[pixel]);
    if (!box) others.push(...framePixels(picture).filter((pixel) => strokes[pixel] !== OBJECT));
    const toBackground = distanceTo(picture, others);
    hint = distanceTo(picture, drawn).map((toObject, pixel) => 1 / (1 + toObject / toBackground[pixel]));
  } else if (!box) {
    hint = distanceFromFrame(picture);
    threshold = otsuThreshold(hint);
  }
  return {
    hint: hint.map((value, pixel) => (held[pixel] ? Number(strokes[pixel] === OBJECT) : value)),
    threshold,
    held,
  };
}
