// The arithmetic of the pack.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { chunkSizeFor, expand, LARGEST_CHUNK, Pack, SMALLEST_CHUNK, USUAL_CHUNK } from "../../static/js/pack.js";

/**
 * The bytes of all pieces of all chunks, laid end to end.
 * @param {number[]} sizes
 * @param {number} chunkSize
 */
function rebuilt(sizes, chunkSize) {
  const files = sizes.map((size, file) => Array.from({ length: size }, (_, at) => `${file}:${at}`));
  const pack = new Pack(sizes, chunkSize);
  const chunks = Array.from({ length: pack.chunkCount }, (_, chunk) =>
    pack.piecesOf(chunk).flatMap(({ file, start, end }) => files[file].slice(start, end)),
  );
  return { chunks, whole: files.flat(), pack };
}

describe("the pack", () => {
  for (const [sizes, chunkSize] of [
    [[10], 4],
    [[4, 4, 4], 4],
    [[1, 1, 1, 1, 1, 1, 1], 3],
    [[0, 5, 0, 0, 7, 0], 4],
    [[100, 1, 250], 64],
    [[3], 64],
  ]) {
    it(`lays ${sizes} end to end in chunks of ${chunkSize}`, () => {
      const { chunks, whole, pack } = rebuilt(sizes, chunkSize);
      assert.deepEqual(chunks.flat(), whole);
      assert.equal(pack.chunkCount, Math.ceil(whole.length / chunkSize));
      chunks.forEach((chunk, index) => assert.equal(chunk.length, pack.lengthOf(index)));
      assert.ok(chunks.every((chunk) => chunk.length > 0));
    });
  }

  it("finds its pieces in a study of fifty thousand files without walking through it", () => {
    const pack = new Pack(new Array(50_000).fill(131_072), USUAL_CHUNK);
    const pieces = pack.piecesOf(pack.chunkCount - 1);
    assert.equal(pieces[pieces.length - 1].file, 49_999);
    assert.equal(
      pieces.reduce((sum, { start, end }) => sum + end - start, 0),
      pack.lengthOf(pack.chunkCount - 1),
    );
  });

  it("expands ranges", () => {
    assert.deepEqual(
      expand([
        [0, 0],
        [3, 5],
      ]),
      [0, 3, 4, 5],
    );
    assert.deepEqual(expand([]), []);
  });
});

describe("the chunk size", () => {
  it("is 8 MiB where nothing is known", () => {
    assert.equal(chunkSizeFor(null), USUAL_CHUNK);
    assert.equal(chunkSizeFor(0), USUAL_CHUNK);
  });

  it("is about fifteen seconds' worth, a power of two within the limits", () => {
    assert.equal(chunkSizeFor(20_000), SMALLEST_CHUNK);
    assert.equal(chunkSizeFor(100_000), 1024 * 1024);
    assert.equal(chunkSizeFor(1_000_000), 8 * 1024 * 1024);
    assert.equal(chunkSizeFor(100_000_000), LARGEST_CHUNK);
    for (let rate = 1000; rate < 1e9; rate *= 1.7) {
      const size = chunkSizeFor(rate);
      assert.equal(size & (size - 1), 0);
      assert.ok(size >= SMALLEST_CHUNK && size <= LARGEST_CHUNK);
    }
  });
});
