// The pack: the files of an upload laid end to end, cut into chunks of one size. All figures are bytes.

export const SMALLEST_CHUNK = 256 * 1024;
export const LARGEST_CHUNK = 16 * 1024 * 1024; // of 64 MiB allowed: several chunks are in memory at a time
export const USUAL_CHUNK = 8 * 1024 * 1024;
const SECONDS_PER_CHUNK = 15;

/**
 * @typedef {object} Piece a span of one file
 * @property {number} file index in the manifest
 * @property {number} start
 * @property {number} end
 */

export class Pack {
  /**
   * @param {number[]} sizes of the files, in the order of the manifest
   * @param {number} chunkSize
   */
  constructor(sizes, chunkSize) {
    this.sizes = sizes;
    this.chunkSize = chunkSize;
    this.offsets = [0];
    for (const size of sizes) this.offsets.push(this.offsets[this.offsets.length - 1] + size);
    this.total = this.offsets[sizes.length];
    this.chunkCount = Math.ceil(this.total / chunkSize);
  }

  /** @param {number} chunk */
  lengthOf(chunk) {
    return Math.min(this.chunkSize, this.total - chunk * this.chunkSize);
  }

  /**
   * The spans of files that make up a chunk.
   * @param {number} chunk
   * @returns {Piece[]}
   */
  piecesOf(chunk) {
    const from = chunk * this.chunkSize;
    const to = from + this.lengthOf(chunk);
    const pieces = [];
    for (let file = this.#fileAt(from); file < this.sizes.length && this.offsets[file] < to; file++) {
      const start = Math.max(from - this.offsets[file], 0);
      const end = Math.min(to - this.offsets[file], this.sizes[file]);
      if (end > start) pieces.push({ file, start, end });
    }
    return pieces;
  }

  /**
   * The file that holds this byte of the pack, by bisection.
   * @param {number} position
   */
  #fileAt(position) {
    let low = 0;
    let high = this.sizes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offsets[middle] <= position) low = middle;
      else high = middle - 1;
    }
    while (low > 0 && this.offsets[low] === position && this.sizes[low - 1] === 0) low--;
    return low;
  }
}

/**
 * The numbers in [first, last] ranges.
 * @param {number[][]} ranges
 */
export function expand(ranges) {
  const numbers = [];
  for (const [first, last] of ranges) for (let number = first; number <= last; number++) numbers.push(number);
  return numbers;
}

/**
 * What to ask of the server: as much as goes up in about 15 s, a power of two within limits.
 * @param {number | null} rate bytes per second measured before, null where nothing is known
 */
export function chunkSizeFor(rate) {
  if (!rate) return USUAL_CHUNK;
  const power = 2 ** Math.floor(Math.log2(rate * SECONDS_PER_CHUNK));
  return Math.min(LARGEST_CHUNK, Math.max(SMALLEST_CHUNK, power));
}
