// When to try again, and how fast it goes.

const FIRST = 1000;
const LONGEST = 60_000;

/**
 * Milliseconds to wait before attempt `failures` + 1: doubled each time, up to a minute, half of it by chance, so that
 * many pages that lost the same server do not come back at the same moment.
 * @param {number} failures in a row, 1 or more
 * @param {{ random?: () => number, retryAfter?: number | null }} [options] retryAfter in seconds, as the server said
 */
export function delay(failures, { random = Math.random, retryAfter = null } = {}) {
  const ceiling = Math.min(LONGEST, FIRST * 2 ** (failures - 1));
  const own = ceiling / 2 + (ceiling / 2) * random();
  return Math.max(own, (retryAfter ?? 0) * 1000);
}

/** The rate of a transfer over the last seconds. */
export class Rate {
  /** @param {number} [window] milliseconds looked back */
  constructor(window = 15_000) {
    this.window = window;
    /** @type {{ at: number, total: number }[]} */
    this.samples = [];
  }

  /**
   * @param {number} at milliseconds
   * @param {number} total bytes so far
   */
  note(at, total) {
    const last = this.samples[this.samples.length - 1];
    // a chunk that is sent again takes the total back: what was measured before no longer fits
    if (last && total < last.total) this.samples = [];
    this.samples.push({ at, total });
    while (this.samples.length > 2 && at - this.samples[1].at >= this.window) this.samples.shift();
  }

  /** Bytes per second, or null while too little is known. */
  get value() {
    const first = this.samples[0];
    const last = this.samples[this.samples.length - 1];
    if (!first || last.at - first.at < 1000) return null;
    return ((last.total - first.total) / (last.at - first.at)) * 1000;
  }

  forget() {
    this.samples = [];
  }
}
