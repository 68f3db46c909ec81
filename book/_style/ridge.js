// @ts-check
"use strict";

/**
 * The method `ridge` of `deepcv.baselines.appearance` with its defaults: our model with a linear encoder of local colour
 * in the networks' place. In turns, a ridge regression m of ±10 on the colours of both sides, and the minimum cut
 *
 *     min  Σₓ νₓ ‖∇uₓ‖₂ + Σₓ (priorₓ - 20 m(x)) uₓ,
 *
 * in which ν is lower on the picture's edges, and the prior comes from the hint.
 *
 * The class refers to nothing outside but itself and `MinimumCut`, for the worker's sake.
 */
class Ridge {
  static rounds = 5;
  static settled = 0.003; // share of the pixels that change side in a round
  static hintWeight = 200; // twice that if the picture's noise is noticeable
  static noticeable = 0.05; // standard deviation
  static penalty = 1e-4; // of squared coefficients
  static held = 1000; // what it costs a pixel to leave a side that is final

  /** @param {Problem} problem */
  constructor(problem) {
    const { hint, threshold, held } = problem;
    this.problem = problem;
    this.start = Uint8Array.from(hint, (value) => Number(value >= threshold));
    this.mask = this.start;
    this.features = Ridge.quadratic(Ridge.localColours(problem), 2 * problem.channels);
    this.edges = Ridge.edgeWeights(problem);
    const weight = Ridge.hintWeight * (Ridge.noiseLevel(problem) >= Ridge.noticeable ? 2 : 1);
    this.prior = hint.map((value, pixel) =>
      held[pixel] ? Ridge.held * (1 - 2 * this.start[pixel]) : -weight * Math.tanh(2.5 * (value - threshold)),
    );
  }

  /** Positive in the object, pixel by pixel in reading order. @returns {Float32Array} */
  get field() {
    return Float32Array.from(this.mask, (inside) => 2 * inside - 1);
  }

  /** Rounds until few pixels change side; yields on the way how many have begun. @param {number} nu */
  *evolve(nu) {
    const { width, height, held } = this.problem;
    const weights = this.edges.map((edge) => nu * edge);
    /** @type {Solution | null} */
    let solution = null;
    for (let round = 1; round <= Ridge.rounds; round++) {
      const cut = new MinimumCut(width, height, this.cost(), weights);
      for (const _ of cut.solve(solution)) yield round;
      solution = /** @type {Solution} */ (cut.solution);
      const found = Uint8Array.from(solution.u, (value, pixel) => (held[pixel] ? this.start[pixel] : Number(value > 0.5)));
      const inside = found.reduce((sum, each) => sum + each, 0);
      if (inside === 0 || inside === found.length) return; // an empty side has no colours
      const changed = found.reduce((sum, each, pixel) => sum + Number(each !== this.mask[pixel]), 0);
      this.mask = found;
      if (changed < Ridge.settled * found.length) return;
    }
  }

  /** By the regression on the present mask, both sides of the same weight. */
  cost() {
    const { mask, features, prior } = this;
    const size = features.length / mask.length; // an equation is a row, its right side last
    const rows = Array.from({ length: size }, () => new Float64Array(size + 1));
    const inside = mask.reduce((sum, each) => sum + each, 0);
    for (let pixel = 0, first = 0; pixel < mask.length; pixel++, first += size) {
      const weight = 0.5 / (mask[pixel] ? inside : mask.length - inside);
      for (let i = 0; i < size; i++) {
        const row = rows[i], weighted = weight * features[first + i];
        for (let j = i; j < size; j++) row[j] += weighted * features[first + j];
        row[size] += mask[pixel] ? 10 * weighted : -10 * weighted;
      }
    }
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < i; j++) rows[i][j] = rows[j][i];
      if (i) rows[i][i] += Ridge.penalty;
    }
    const coefficients = Ridge.solved(rows);
    return prior.map((value, pixel) => {
      let mean = 0;
      for (let i = 0; i < size; i++) mean += features[pixel * size + i] * coefficients[i];
      return value - 20 * mean;
    });
  }

  /** Solves linear equations, positive definite, by elimination. @param {Float64Array[]} rows */
  static solved(rows) {
    const size = rows.length;
    for (let i = 0; i < size; i++)
      for (let below = i + 1; below < size; below++) {
        const factor = rows[below][i] / rows[i][i];
        for (let j = i; j <= size; j++) rows[below][j] -= factor * rows[i][j];
      }
    const found = new Float64Array(size);
    for (let i = size - 1; i >= 0; i--) {
      let rest = rows[i][size];
      for (let j = i + 1; j < size; j++) rest -= rows[i][j] * found[j];
      found[i] = rest / rows[i][i];
    }
    return found;
  }

  /** Mean colours over 1 and over 3 × 3 pixels, pixel by pixel. @param {Picture} picture */
  static localColours({ width, height, channels, image }) {
    const colours = new Float64Array(2 * image.length);
    for (let y = 0, first = 0; y < height; y++) {
      const top = Math.max(y - 1, 0), bottom = Math.min(y + 1, height - 1);
      for (let x = 0; x < width; x++) {
        const left = Math.max(x - 1, 0), right = Math.min(x + 1, width - 1);
        const count = (bottom - top + 1) * (right - left + 1);
        for (let c = 0; c < channels; c++, first++) {
          let sum = 0;
          for (let row = top; row <= bottom; row++)
            for (let column = left; column <= right; column++) sum += image[(row * width + column) * channels + c];
          colours[2 * first] = image[first];
          colours[2 * first + 1] = sum / count;
        }
      }
    }
    return colours;
  }

  /**
   * 1, the features and their products, pixel by pixel; all but 1 have mean 0 and variance 1.
   *
   * @param {Float64Array} features pixel by pixel
   * @param {number} dimensions of a pixel's features
   */
  static quadratic(features, dimensions) {
    const count = features.length / dimensions, size = ((dimensions + 1) * (dimensions + 2)) / 2;
    const every = new Float64Array(count * size);
    const sums = new Float64Array(size), squares = new Float64Array(size);
    for (let at = 0, from = 0; at < every.length; from += dimensions) {
      every[at++] = 1;
      for (let i = from; i < from + dimensions; i++) every[at++] = features[i];
      for (let i = from; i < from + dimensions; i++)
        for (let j = i; j < from + dimensions; j++) every[at++] = features[i] * features[j];
    }
    for (let at = 0; at < every.length; at++) sums[at % size] += every[at] / count;
    for (let at = 0; at < every.length; at++) squares[at % size] += (every[at] - sums[at % size]) ** 2 / count;
    for (let at = 0; at < every.length; at++)
      if (at % size) every[at] = (every[at] - sums[at % size]) / Math.max(Math.sqrt(squares[at % size]), 1e-9);
    return every;
  }

  /** `edge_weights` of `deepcv.model.start`: what the length counts at each pixel. @param {Picture} picture */
  static edgeWeights({ width, height, channels, image }) {
    const squares = new Float32Array(width * height);
    squares.forEach((_, pixel) => {
      for (let c = 0; c < channels; c++) {
        const at = pixel * channels + c;
        if (pixel >= width) squares[pixel] += (image[at] - image[at - width * channels]) ** 2;
        if (pixel % width) squares[pixel] += (image[at] - image[at - channels]) ** 2;
      }
    });
    const mean = squares.reduce((sum, square) => sum + square, 0) / squares.length;
    return squares.map((square) => 0.05 + 0.95 * Math.exp(-square / (2 * mean)));
  }

  /** `noise_level` of `deepcv.hints.features`, a standard deviation. @param {Picture} picture */
  static noiseLevel({ width, height, channels, image }) {
    const mask = [1, -2, 1];
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      const size = new Float32Array(width * height);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          let value = 0;
          for (let dy = -1; dy <= 1; dy++)
            for (let dx = -1; dx <= 1; dx++) {
              const row = Math.min(Math.max(y + dy, 0), height - 1), column = Math.min(Math.max(x + dx, 0), width - 1);
              value += mask[dy + 1] * mask[dx + 1] * image[(row * width + column) * channels + c];
            }
          size[y * width + x] = Math.abs(value) / 6;
        }
      sum += size.sort()[size.length >> 1];
    }
    return sum / channels / 0.6745;
  }
}
