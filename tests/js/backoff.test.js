// When to try again, and how fast it goes.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { delay, Rate } from "../../static/js/backoff.js";

describe("the delay", () => {
  it("doubles up to a minute", () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((failures) => delay(failures, { random: () => 1 }));
    assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it("is spread by chance over half of it", () => {
    assert.equal(delay(3, { random: () => 0 }), 2000);
    assert.equal(delay(3, { random: () => 0.5 }), 3000);
  });

  it("is never shorter than the server asked for", () => {
    assert.equal(delay(1, { random: () => 0, retryAfter: 30 }), 30_000);
    assert.equal(delay(7, { random: () => 1, retryAfter: 30 }), 60_000);
  });
});

describe("the rate", () => {
  it("is not known at once", () => {
    const rate = new Rate();
    assert.equal(rate.value, null);
    rate.note(0, 0);
    rate.note(500, 1000);
    assert.equal(rate.value, null);
  });

  it("looks back over its window alone", () => {
    const rate = new Rate(10_000);
    for (let second = 0; second <= 10; second++) rate.note(second * 1000, second * 100);
    assert.equal(rate.value, 100);
    for (let second = 11; second <= 30; second++) rate.note(second * 1000, 1000 + (second - 10) * 500);
    assert.equal(rate.value, 500);
  });

  it("starts anew when bytes are sent again", () => {
    const rate = new Rate();
    rate.note(0, 0);
    rate.note(2000, 9000);
    rate.note(3000, 4000);
    assert.equal(rate.value, null);
    rate.note(5000, 6000);
    assert.equal(rate.value, 1000);
  });
});
