// @ts-check
"use strict";

/**
 * What the worker answers: the field, positive in the object, on the way and when it is done; steps are those of the
 * level set, or rounds.
 *
 * @typedef {{id: number, field: Float32Array, steps: number, milliseconds: number, done: boolean}} Answer
 */

/**
 * The worker: solves the newest problem, and leaves an older one where it is.
 *
 * @param {Record<string, new (problem: Problem) => {field: Float32Array, evolve(nu: number): Iterable<number>}>} methods
 */
function solveTheNewest(methods) {
  const between = 50; // milliseconds from one look at the messages to the next
  let newest = 0;

  /** @param {MessageEvent<Problem & {id: number, method: string, nu: number}>} message */
  self.onmessage = async ({ data }) => {
    newest = data.id;
    const started = performance.now();
    const solver = new methods[data.method](data);
    let steps = 0, looked = started;
    /** @param {boolean} done */
    const answer = (done) =>
      self.postMessage({ id: data.id, field: solver.field, steps, milliseconds: performance.now() - started, done });
    for (steps of solver.evolve(data.nu)) {
      if (performance.now() - looked < between) continue;
      answer(false);
      await new Promise((resolve) => setTimeout(resolve));
      if (data.id !== newest) return;
      looked = performance.now();
    }
    answer(true);
  };
}

/** A worker that posts an `Answer` or more to each problem with an `id`, a `method` and a `nu`. */
function startWorker() {
  const methods = `{"chan-vese": ChanVese, ridge: Ridge, network: TrainedNetwork}`;
  const text = [ChanVese, MinimumCut, Ridge, TrainedNetwork, `(${solveTheNewest})(${methods})`].join(";");
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}
