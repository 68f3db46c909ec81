// @ts-check
"use strict";

/**
 * The weights of a trained network: of each tensor, by its name, where it begins and ends in `values`.
 *
 * @typedef {{side: number, tensors: Record<string, [number, number]>, values: Float32Array}} Weights
 *
 * Channels of a picture, one after the other, pixel by pixel in reading order.
 * @typedef {{width: number, height: number, values: Float32Array}} Maps
 */

/**
 * The U-Net of Algorithm 3 (`deepcv.amortized.segmenter`, `deepcv.model.networks.UNet`) applied to a picture, in one
 * pass and without a hint. Only what is drawn is final.
 *
 * The class refers to nothing outside but itself, for the worker's sake.
 */
class TrainedNetwork {
  /** @param {Problem & {weights: Weights}} problem */
  constructor(problem) {
    this.problem = problem;
    this.field = problem.hint.map((value) => (value >= problem.threshold ? 1 : -1));
  }

  *evolve() {
    const { width, height, weights, held } = this.problem;
    const start = this.field;
    const found = TrainedNetwork.resized(this.forward(this.input(weights.side)), width, height).values;
    this.field = found.map((value, pixel) => (held[pixel] ? start[pixel] : value));
    yield 1;
  }

  /** The picture in [-1, 1] with a shorter side of `side`. @param {number} side */
  input(side) {
    const { width, height, channels, image } = this.problem;
    const values = new Float32Array(3 * width * height);
    for (let c = 0; c < 3; c++)
      for (let pixel = 0; pixel < width * height; pixel++)
        values[c * width * height + pixel] = 2 * image[pixel * channels + (c % channels)] - 1;
    const [across, down] = [width, height].map((each) =>
      Math.max(side, 4 * Math.round((each * side) / Math.min(width, height) / 4)),
    );
    return TrainedNetwork.resized({ width, height, values }, across, down);
  }

  /** Memberships of the object, from -1 to 1. @param {Maps} maps @returns {Maps} */
  forward(maps) {
    let x = this.twice(maps, "entry");
    const skips = [];
    for (let level = 0; this.has(`down.${level}`); level++) {
      skips.push(x);
      x = this.twice(TrainedNetwork.halved(x), `down.${level}`);
    }
    for (let level = 0; skips.length; level++) {
      const skip = /** @type {Maps} */ (skips.pop());
      const { width, height } = skip;
      const above = TrainedNetwork.enlarged(x, width, height);
      const values = new Float32Array(skip.values.length + above.values.length);
      values.set(skip.values);
      values.set(above.values, skip.values.length);
      x = this.twice({ width, height, values }, `up.${level}`);
    }
    const logits = this.convolved(x, "exit", 1);
    return { ...logits, values: logits.values.map((logit) => Math.tanh(logit / 2)) }; // 2 sigmoid - 1
  }

  /** @param {string} prefix */
  has(prefix) {
    return `0.${prefix}.convolutions.0.weight` in this.problem.weights.tensors;
  }

  /** @param {string} name */
  tensor(name) {
    const { tensors, values } = this.problem.weights;
    return values.subarray(...tensors[`0.${name}`]);
  }

  /** Convolution, instance normalisation and ReLU, twice. @param {Maps} x @param {string} name */
  twice(x, name) {
    for (const part of [0, 1]) {
      x = this.convolved(x, `${name}.convolutions.${part}`, 3);
      this.normalise(x, `${name}.norms.${part}`);
    }
    return x;
  }

  /** With zeros around the picture. @param {Maps} x @param {string} name @param {number} kernel @returns {Maps} */
  convolved({ width, height, values }, name, kernel) {
    const weight = this.tensor(`${name}.weight`), bias = this.tensor(`${name}.bias`);
    const pixels = width * height, reach = kernel >> 1;
    const entering = values.length / pixels;
    const found = new Float32Array(bias.length * pixels);
    for (let out = 0, at = 0; out < bias.length; out++) {
      const to = found.subarray(out * pixels, (out + 1) * pixels).fill(bias[out]);
      for (let c = 0; c < entering; c++) {
        const from = values.subarray(c * pixels, (c + 1) * pixels);
        for (let dy = -reach; dy <= reach; dy++) {
          for (let dx = -reach; dx <= reach; dx++, at++) {
            const factor = weight[at], left = Math.max(0, -dx), right = Math.min(width, width - dx);
            for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++)
              for (let x = y * width + left, shift = dy * width + dx; x < y * width + right; x++)
                to[x] += factor * from[x + shift];
          }
        }
      }
    }
    return { width, height, values: found };
  }

  /** Instance normalisation and ReLU, in place. @param {Maps} x @param {string} name */
  normalise({ width, height, values }, name) {
    const weight = this.tensor(`${name}.weight`), bias = this.tensor(`${name}.bias`);
    const pixels = width * height;
    for (let c = 0; c < weight.length; c++) {
      const channel = values.subarray(c * pixels, (c + 1) * pixels);
      const mean = channel.reduce((sum, value) => sum + value, 0) / pixels;
      const variance = channel.reduce((sum, value) => sum + (value - mean) ** 2, 0) / pixels;
      const factor = weight[c] / Math.sqrt(variance + 1e-5);
      channel.forEach((value, pixel) => (channel[pixel] = Math.max(0, (value - mean) * factor + bias[c])));
    }
  }

  /** The largest of 2 × 2 pixels. @param {Maps} x @returns {Maps} */
  static halved(x) {
    const across = Array.from({ length: x.width >> 1 }, (_, i) => 2 * i);
    const down = Array.from({ length: x.height >> 1 }, (_, i) => 2 * i);
    return TrainedNetwork.eachPixel(x, across, down, (channel, left, top) => {
      const at = top * x.width + left;
      return Math.max(channel[at], channel[at + 1], channel[at + x.width], channel[at + x.width + 1]);
    });
  }

  /** Bilinear, from corner to corner. @param {Maps} x @param {number} width @param {number} height */
  static enlarged(x, width, height) {
    /** @param {number} to @param {number} from */
    const places = (to, from) => Array.from({ length: to }, (_, i) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0));
    return TrainedNetwork.bilinear(x, places(width, x.width), places(height, x.height));
  }

  /** As `deepcv.images.resize`: area averages if smaller, else bilinear. @param {Maps} x @param {number} width @param {number} height */
  static resized(x, width, height) {
    /** @param {number} to @param {number} from */
    const edges = (to, from) => Array.from({ length: to }, (_, i) => (i * from) / to);
    const across = edges(width, x.width), down = edges(height, x.height);
    const [wide, high] = [x.width / width, x.height / height];
    if (wide * high <= 1) {
      /** @param {number[]} places @param {number} size @param {number} from */
      const centres = (places, size, from) => places.map((at) => Math.min(Math.max(at + size / 2 - 0.5, 0), from - 1));
      return TrainedNetwork.bilinear(x, centres(across, wide, x.width), centres(down, high, x.height));
    }
    return TrainedNetwork.eachPixel(x, across, down, (channel, left, top) => {
      let sum = 0;
      for (let row = Math.floor(top); row < Math.min(top + high - 1e-6, x.height); row++)
        for (let column = Math.floor(left); column < Math.min(left + wide - 1e-6, x.width); column++)
          sum +=
            (Math.min(row + 1, top + high) - Math.max(row, top)) *
            (Math.min(column + 1, left + wide) - Math.max(column, left)) *
            channel[row * x.width + column];
      return sum / (wide * high);
    });
  }

  /** @param {Maps} x @param {number[]} across @param {number[]} down @returns {Maps} */
  static bilinear({ width, height, values }, across, down) {
    const pixels = width * height;
    const found = new Float32Array((values.length / pixels) * across.length * down.length);
    for (let from = 0, to = 0; from < values.length; from += pixels) {
      for (const top of down) {
        const above = from + Math.floor(top) * width, below = from + Math.min(Math.floor(top) + 1, height - 1) * width;
        const line = values.slice(above, above + width);
        line.forEach((value, x) => (line[x] += (top % 1) * (values[below + x] - value)));
        for (const left of across) {
          const one = Math.floor(left), two = Math.min(one + 1, width - 1);
          found[to++] = line[one] + (left % 1) * (line[two] - line[one]);
        }
      }
    }
    return { width: across.length, height: down.length, values: found };
  }

  /**
   * @param {Maps} x
   * @param {number[]} across where each column of the result lies in x
   * @param {number[]} down
   * @param {(channel: Float32Array, left: number, top: number) => number} value
   * @returns {Maps}
   */
  static eachPixel(x, across, down, value) {
    const pixels = x.width * x.height;
    const values = new Float32Array((x.values.length / pixels) * across.length * down.length);
    for (let from = 0, at = 0; from < x.values.length; from += pixels) {
      const channel = x.values.subarray(from, from + pixels);
      for (const top of down) for (const left of across) values[at++] = value(channel, left, top);
    }
    return { width: across.length, height: down.length, values };
  }

  /**
   * Weights from a page's script (`book/_ext/network.py`), which has them in half precision, base64.
   *
   * @param {{side: number, tensors: Record<string, [number, number]>, halves: string}} script
   * @returns {Weights}
   */
  static read({ side, tensors, halves }) {
    const bytes = Uint8Array.from(atob(halves), (character) => character.charCodeAt(0));
    const words = new Uint16Array(bytes.buffer);
    const bits = Uint32Array.from(words, (word) => ((word & 0x8000) << 16) | ((word & 0x7fff) << 13));
    const values = new Float32Array(bits.buffer).map((value) => value * 2 ** 112); // exponents count from 15, not 127
    return { side, tensors, values };
  }
}
