// @ts-check
"use strict";

/**
 * The Chan-Vese model (3.7) by a level-set function φ, the solver "level-set" of `deepcv.baselines.chan_vese`:
 *
 *     φ_t = δ(φ) [ν div(∇φ/|∇φ|) - ‖I - c₁‖² + ‖I - c₂‖²],
 *
 * semi-implicit (Getreuer, IPOL 2012, equation 22), c₁ and c₂ the means of φ > 0 and φ ≤ 0, δ(φ) = 1 / (1 + φ²).
 *
 * A frame of one pixel repeats the border of φ. The class refers to nothing outside, so that a worker can be made of
 * its text: a page that is read from the disk may load no other.
 */
class ChanVese {
  static steps = 500;
  static settled = 1e-3; // the root mean square of a step's change
  static dt = 0.5;

  /** @param {Problem} problem */
  constructor({ width, height, channels, image, hint, threshold, held }) {
    this.width = width;
    this.height = height;
    this.channels = channels;
    this.image = image;
    this.held = held;
    this.whole = new Float64Array(channels); // sums over all pixels
    image.forEach((value, index) => (this.whole[index % channels] += value));
    this.row = width + 2;
    this.phi = new Float64Array(this.row * (height + 2));
    this.next = new Float64Array(this.phi.length);
    for (let y = 0, pixel = 0; y < height; y++)
      for (let x = 0; x < width; x++, pixel++) this.phi[this.place(x, y)] = hint[pixel] >= threshold ? 1 : -1;
    this.frame(this.phi);
  }

  /** Where the pixel (x, y) lies in φ. @param {number} x @param {number} y */
  place(x, y) {
    return (y + 1) * this.row + x + 1;
  }

  /** Repeats the border in the frame. @param {Float64Array} phi */
  frame(phi) {
    const { row, height } = this;
    for (let y = 1; y <= height; y++) {
      phi[y * row] = phi[y * row + 1];
      phi[y * row + row - 1] = phi[y * row + row - 2];
    }
    phi.copyWithin(0, row, 2 * row);
    phi.copyWithin((height + 1) * row, height * row, (height + 1) * row);
  }

  /** φ without its frame, pixel by pixel in reading order. @returns {Float32Array} */
  get field() {
    const field = new Float32Array(this.width * this.height);
    for (let y = 0; y < this.height; y++)
      field.set(this.phi.subarray(this.place(0, y), this.place(this.width, y)), y * this.width);
    return field;
  }

  /** The mean colours of φ > 0 and φ ≤ 0, 0 for an empty side. @returns {[Float64Array, Float64Array]} */
  means() {
    const { width, height, channels, image, phi, whole } = this;
    const inside = new Float64Array(channels);
    let count = 0;
    for (let y = 0, pixel = 0; y < height; y++) {
      for (let x = 0, at = this.place(0, y); x < width; x++, at++, pixel++) {
        if (!(phi[at] > 0)) continue;
        count++;
        for (let c = 0; c < channels; c++) inside[c] += image[pixel * channels + c];
      }
    }
    const outside = whole.map((sum, c) => (sum - inside[c]) / Math.max(width * height - count, 1));
    return [inside.map((sum) => sum / Math.max(count, 1)), outside];
  }

  /** One step of the descent. @param {number} nu @returns {number} the root mean square of the change of φ */
  step(nu) {
    const { width, height, channels, image, held, row, phi, next } = this;
    const [c1, c2] = this.means();
    const [red, green, blue] = c1.map((_, c) => 2 * (c2[c] - c1[c]));
    const offset = c1.reduce((sum, _, c) => sum + c1[c] * c1[c] - c2[c] * c2[c], 0);
    let squares = 0;
    for (let y = 0, pixel = 0; y < height; y++) {
      for (let x = 0, at = this.place(0, y); x < width; x++, at++, pixel++) {
        const here = phi[at];
        if (held[pixel]) {
          next[at] = here;
          continue;
        }
        const colour = pixel * channels;
        let cost = offset + red * image[colour]; // ‖I - c₁‖² - ‖I - c₂‖²
        if (channels === 3) cost += green * image[colour + 1] + blue * image[colour + 2];
        // neighbours weighted by 1/|∇φ| halfway to each
        const left = phi[at - 1], right = phi[at + 1], above = phi[at - row], below = phi[at + row];
        const vertical = 0.25 * (below - above) * (below - above) + 1e-16;
        const horizontal = 0.25 * (right - left) * (right - left) + 1e-16;
        const toLeft = 1 / Math.sqrt(vertical + (here - left) * (here - left));
        const toRight = 1 / Math.sqrt(vertical + (right - here) * (right - here));
        const toAbove = 1 / Math.sqrt(horizontal + (here - above) * (here - above));
        const toBelow = 1 / Math.sqrt(horizontal + (below - here) * (below - here));
        const weighted = left * toLeft + right * toRight + above * toAbove + below * toBelow;
        const total = toLeft + toRight + toAbove + toBelow;
        const dirac = ChanVese.dt / (1 + here * here);
        const there = (here + dirac * (nu * weighted - cost)) / (1 + dirac * nu * total);
        squares += (there - here) * (there - here);
        next[at] = there;
      }
    }
    this.frame(next);
    this.phi = next;
    this.next = phi;
    return Math.sqrt(squares / (width * height));
  }

  /** Steps until φ has settled; yields after each the steps so far. @param {number} nu */
  *evolve(nu) {
    for (let step = 1; step <= ChanVese.steps; step++) {
      const change = this.step(nu);
      yield step;
      if (change <= ChanVese.settled) return;
    }
  }
}
