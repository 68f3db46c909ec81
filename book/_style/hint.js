// @ts-check
"use strict";

/**
 * Where the contour starts if nobody computes a saliency map: what differs in colour from the picture's frame, or what
 * is nearer to the strokes on the object than to those on the background and to the frame.
 */

/**
 * A picture at the size at which it is solved.
 *
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 (grey) or 3
 * @property {Float32Array} image colours in [0, 1], pixel by pixel in reading order
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
 * middle of the picture, since few objects stand at its edge.
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
  return values;
}

/** The threshold that separates two groups of values best (Otsu, 1979). @param {Float32Array} values */
function otsuThreshold(values) {
  const bins = 256;
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  const counts = new Float64Array(bins);
  for (const value of values) counts[Math.min(bins - 1, Math.floor((value / high) * bins))]++;
  const whole = counts.reduce((sum, count, bin) => sum + count * bin, 0);
  let below = 0, sumBelow = 0, best = 0, threshold = 0;
  for (let bin = 0; bin < bins - 1; bin++) {
    below += counts[bin];
    sumBelow += counts[bin] * bin;
    const above = values.length - below;
    if (!below || !above) continue;
    const between = below * above * (sumBelow / below - (whole - sumBelow) / above) ** 2;
    if (between > best) [best, threshold] = [between, ((bin + 1) / bins) * high];
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
 * Where the contour starts, and where that is final: on strokes, and outside the box.
 *
 * @param {Picture} picture
 * @param {Uint8Array} strokes OBJECT, BACKGROUND or 0 for each pixel
 * @param {{left: number, top: number, right: number, bottom: number} | null} box in pixels, its edges included
 * @returns {{start: Uint8Array, held: Uint8Array}}
 */
function startFrom(picture, strokes, box) {
  const { width, height } = picture;
  const pixels = Array.from(strokes.keys());
  /** @param {number} pixel */
  const isInBox = (pixel) => {
    const x = pixel % width, y = Math.floor(pixel / width);
    return box === null || (x >= box.left && x <= box.right && y >= box.top && y <= box.bottom);
  };
  const drawn = pixels.filter((pixel) => strokes[pixel] === OBJECT);
  /** @type {(pixel: number) => boolean} */
  let isObject;
  if (drawn.length) {
    const others = pixels.filter((pixel) => strokes[pixel] === BACKGROUND || !isInBox(pixel));
    if (!box) others.push(...framePixels(picture).filter((pixel) => strokes[pixel] !== OBJECT));
    const toObject = distanceTo(picture, drawn);
    const toBackground = distanceTo(picture, others);
    isObject = (pixel) => toObject[pixel] < toBackground[pixel];
  } else if (box) {
    isObject = () => true;
  } else {
    const values = distanceFromFrame(picture);
    const threshold = otsuThreshold(values);
    isObject = (pixel) => values[pixel] > threshold;
  }
  const held = Uint8Array.from(pixels, (pixel) => Number(strokes[pixel] > 0 || !isInBox(pixel)));
  const start = Uint8Array.from(pixels, (pixel) =>
    Number(strokes[pixel] ? strokes[pixel] === OBJECT : isInBox(pixel) && isObject(pixel)),
  );
  return { start, held };
}
