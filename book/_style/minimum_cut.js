// @ts-check
"use strict";

/**
 * Where the iteration stands: u in [0, 1] and the dual variables of its differences to the pixels above, left and above
 * right, pixel by pixel in reading order.
 *
 * @typedef {{u: Float32Array, dual: Float32Array[]}} Solution
 */

/**
 * The mask of least energy Σₓ νₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ, u in {0, 1}, as `deepcv.model.labelling` finds it and explains
 * it: by the primal-dual method of Chambolle and Pock (2011), from coarse to fine, until the duality gap is small.
 *
 * The class refers to nothing outside but itself, for the worker's sake.
 */
class MinimumCut {
  static tolerance = 1e-4; // of the gap, as a share of Σ |cost|; ten times as much on coarser grids
  static most = 2000; // iterations on one grid
  static between = 10; // iterations from one look at the gap to the next
  static smallest = 8; // pixels on the shorter side of the coarsest grid

  /**
   * @param {number} width
   * @param {number} height
   * @param {Float32Array} cost of the object rather than the background
   * @param {Float32Array} nu weight of the length
   */
  constructor(width, height, cost, nu) {
    this.width = width;
    this.height = height;
    this.cost = cost;
    this.nu = nu;
    const count = width * height;
    this.shifts = [width, 1, width - 1];
    this.weights = this.shifts.map(() => new Float32Array(count)); // 0 for pairs across the frame
    const [down, right, diagonal] = this.weights;
    for (let y = 0, pixel = 0; y < height; y++) {
      for (let x = 0; x < width; x++, pixel++) {
        // a pixel of the first row or column has only one neighbour, and its length is |u - u_neighbour|
        if (y) down[pixel] = nu[pixel] * (x ? Math.SQRT1_2 : 1);
        if (x) right[pixel] = nu[pixel] * (y ? Math.SQRT1_2 : 1);
        if (y && x < width - 1) diagonal[pixel] = nu[pixel + 1] * (1 - Math.SQRT1_2);
      }
    }
    const touching = new Float32Array(count);
    this.weights.forEach((weight, edge) => {
      for (let pixel = this.shifts[edge]; pixel < count; pixel++) {
        touching[pixel] += weight[pixel];
        touching[pixel - this.shifts[edge]] += weight[pixel];
      }
    });
    this.step = touching.map((sum) => 1 / Math.max(sum, 1e-7));
    this.slope = new Float32Array(count);
  }

  /**
   * Iterates, and yields now and then.
   *
   * @param {Solution | null} [start] of similar costs; without one from coarse to fine
   * @param {number} [tolerance]
   * @returns {Generator<undefined, void>}
   */
  *solve(start = null, tolerance = MinimumCut.tolerance) {
    this.solution = start ?? (yield* this.coarse());
    this.leading = Float32Array.from(this.solution.u);
    const allowed = tolerance * this.cost.reduce((sum, cost) => sum + Math.abs(cost), 0);
    for (let iteration = 1; iteration <= MinimumCut.most; iteration++) {
      this.advance(this.solution, this.leading);
      if (iteration % MinimumCut.between) continue;
      yield;
      if (this.gap(this.solution.u) <= allowed) return;
    }
  }

  /**
   * A start: the solution for pixels of twice the size or, on a small grid, each pixel's preference.
   *
   * @returns {Generator<undefined, Solution>}
   */
  *coarse() {
    const { width, height, cost, nu } = this;
    const across = Math.ceil(width / 2), down = Math.ceil(height / 2);
    const count = width * height;
    if (Math.min(width, height) < 2 * MinimumCut.smallest)
      return { u: cost.map((value) => Number(value < 0)), dual: this.shifts.map(() => new Float32Array(count)) };
    /** The larger pixel of one. @param {number} pixel */
    const larger = (pixel) => (Math.floor(pixel / width) >> 1) * across + ((pixel % width) >> 1);
    const sums = new Float32Array(across * down), weights = new Float32Array(across * down);
    const parts = new Uint8Array(across * down);
    for (let pixel = 0; pixel < count; pixel++) {
      const at = larger(pixel);
      sums[at] += cost[pixel];
      weights[at] += 2 * nu[pixel]; // a larger pixel's side is twice as long
      parts[at]++;
    }
    const small = new MinimumCut(across, down, sums, weights.map((sum, at) => sum / parts[at]));
    yield* small.solve(null, 10 * MinimumCut.tolerance);
    const { u, dual } = /** @type {Solution} */ (small.solution);
    /** @param {Float32Array} values */
    const enlarged = (values) => new Float32Array(count).map((_, pixel) => values[larger(pixel)]);
    return { u: enlarged(u), dual: dual.map(enlarged) };
  }

  /** One iteration, in place. @param {Solution} solution @param {Float32Array} leading 2 u minus the u before */
  advance({ u, dual }, leading) {
    const { slope, step, cost } = this;
    slope.set(cost);
    for (let edge = 0; edge < 3; edge++) {
      const shift = this.shifts[edge], weight = this.weights[edge], values = dual[edge];
      for (let pixel = shift; pixel < u.length; pixel++) {
        if (!weight[pixel]) continue;
        const value = values[pixel] + 0.5 * (leading[pixel] - leading[pixel - shift]);
        const bounded = value > 1 ? 1 : value < -1 ? -1 : value;
        values[pixel] = bounded;
        slope[pixel] += weight[pixel] * bounded;
        slope[pixel - shift] -= weight[pixel] * bounded;
      }
    }
    for (let pixel = 0; pixel < u.length; pixel++) {
      const value = u[pixel] - step[pixel] * slope[pixel];
      const bounded = value > 1 ? 1 : value < 0 ? 0 : value;
      leading[pixel] = 2 * bounded - u[pixel];
      u[pixel] = bounded;
    }
  }

  /** A bound on the energy of u > ½ above the least: its energy minus the dual's. @param {Float32Array} u */
  gap(u) {
    let gap = 0;
    for (let pixel = 0; pixel < u.length; pixel++)
      gap += (u[pixel] > 0.5 ? this.cost[pixel] : 0) - Math.min(this.slope[pixel], 0);
    this.weights.forEach((weight, edge) => {
      for (let pixel = this.shifts[edge]; pixel < u.length; pixel++)
        if (u[pixel] > 0.5 !== u[pixel - this.shifts[edge]] > 0.5) gap += weight[pixel];
    });
    return gap;
  }
}
