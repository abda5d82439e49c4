// The digest of bytes that come in parts, held against node's own.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { base64, digestOf, digestOfFile, hex, Sha256 } from "../../static/js/sha256.js";

/** @param {Uint8Array} bytes */
const expected = (bytes) => createHash("sha256").update(bytes).digest("hex");

describe("SHA-256", () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_001]) {
    it(`agrees with node over ${size} bytes, in uneven parts`, () => {
      const bytes = randomBytes(size);
      const sha = new Sha256();
      for (let at = 0, step = 1; at < size; at += step, step = (step * 7) % 301)
        sha.update(bytes.subarray(at, at + step));
      assert.equal(hex(sha.digest()), expected(bytes));
    });
  }

  it("digests a file in one read and in steps alike", async () => {
    const bytes = randomBytes(3_000_001);
    const file = new Blob([bytes]);
    const told = [];
    assert.equal(hex(await digestOfFile(file, (done) => told.push(done))), expected(bytes));
    assert.deepEqual(told, [bytes.length]);
    assert.equal(hex(await digestOf(new Uint8Array(bytes))), expected(bytes));
  });

  it("digests without WebCrypto, as on a page that is not https", async () => {
    const bytes = randomBytes(20_000_000);
    const subtle = Object.getOwnPropertyDescriptor(globalThis, "crypto");
    Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
    try {
      const told = [];
      assert.equal(hex(await digestOfFile(new Blob([bytes]), (done) => told.push(done))), expected(bytes));
      assert.deepEqual(told, [8 * 2 ** 20, 16 * 2 ** 20, bytes.length]);
      assert.equal(hex(await digestOf(new Uint8Array(bytes))), expected(bytes));
    } finally {
      Object.defineProperty(globalThis, "crypto", subtle);
    }
  });

  it("writes base64 as Content-Digest wants it", () => {
    assert.equal(base64(Uint8Array.of(0, 255, 62)), Buffer.from([0, 255, 62]).toString("base64"));
  });
});
