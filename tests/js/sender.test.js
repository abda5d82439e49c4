// Sending, against a server that loses, delays and refuses.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Problem } from "../../static/js/api.js";
import { FileChanged } from "../../static/js/hands.js";
import { CHANGED, Sender } from "../../static/js/sender.js";

/** A server of one upload: keeps chunks, and answers as it was told to. */
class Server {
  /** @param {number} chunkCount */
  constructor(chunkCount) {
    this.missing = new Set(Array.from({ length: chunkCount }, (_, index) => index));
    this.puts = [];
    this.slept = [];
    this.completed = 0;
    this.refusals = [];
    this.atOnce = 0;
    this.mostAtOnce = 0;
    this.cuts = 0;
  }

  doors() {
    return {
      call: async (method, path, options) => this.call(method, path, options),
      put: (path, octets, options) => this.put(path, octets, options),
      cut: async (cuts) => {
        this.cuts++;
        const length = cuts.reduce((sum, { start, end }) => sum + end - start, 0);
        return { octets: new ArrayBuffer(length), digest: "digest" };
      },
      sleep: async (milliseconds, signal) => {
        signal.throwIfAborted();
        this.slept.push(milliseconds);
      },
      now: () => this.puts.length * 1000,
    };
  }

  call(method, path, { body } = {}) {
    if (method === "GET") {
      const missing = [...this.missing].map((chunk) => [chunk, chunk]);
      return { status: 200, body: { state: "receiving", progress: { missing } } };
    }
    assert.equal(path, "/uploads/u1/complete");
    this.sealedWith = JSON.parse(body).files;
    const refusal = this.refuseSeal?.();
    if (refusal) throw refusal;
    if (this.missing.size) {
      throw new Problem(409, { code: "chunks_missing", missing: [...this.missing].map((chunk) => [chunk, chunk]) });
    }
    this.completed++;
    return { status: 202, body: {} };
  }

  async put(path, octets, { tell, signal }) {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      const chunk = Number(path.split("/").pop());
      this.puts.push(chunk);
      tell(octets.byteLength);
      const refusal = this.refusals.shift();
      if (refusal) throw refusal;
      this.missing.delete(chunk);
    } finally {
      this.atOnce--;
    }
  }
}

/**
 * @param {Server} server
 * @param {Partial<ReturnType<Server["doors"]>>} [doors]
 */
function senderTo(server, doors = {}) {
  const parts = [500, 0, 1300].map((size, index) => ({ file: { size }, sha256: `sha${index}` }));
  const phases = [];
  const note = ({ phase }) => phases.at(-1) !== phase && phases.push(phase);
  const sender = new Sender({ id: "u1", chunk_size: 100 }, parts, note, { ...server.doors(), ...doors });
  return { sender, phases };
}

describe("sending", () => {
  it("sends every chunk once, four at a time, and seals with the digest of every file", async () => {
    const server = new Server(18);
    const { sender, phases } = senderTo(server);
    await sender.run();
    assert.deepEqual(phases, ["sending", "sealing", "received"]);
    assert.deepEqual(
      server.puts.toSorted((a, b) => a - b),
      Array.from({ length: 18 }, (_, index) => index),
    );
    assert.equal(server.mostAtOnce, 4);
    assert.deepEqual(
      server.sealedWith,
      [0, 1, 2].map((index) => ({ index, sha256: `sha${index}` })),
    );
    assert.equal(sender.sent, 1800);
  });

  it("sends only what the server misses", async () => {
    const server = new Server(18);
    for (let chunk = 0; chunk < 15; chunk++) server.missing.delete(chunk);
    const { sender } = senderTo(server);
    await sender.run();
    assert.deepEqual(
      server.puts.toSorted((a, b) => a - b),
      [15, 16, 17],
    );
    assert.equal(sender.phase, "received");
  });

  it("tries again after a lost network and a server that is away, more slowly each time", async () => {
    const server = new Server(1);
    server.refusals = [new Problem(0), new Problem(503), new Problem(502), new Problem(429, {}, 90)];
    const { sender, phases } = senderTo(server, {});
    sender.parts.splice(1);
    await sender.run();
    assert.equal(sender.phase, "received");
    assert.ok(phases.includes("waiting"));
    assert.equal(server.puts.filter((chunk) => chunk === 0).length, 5);
    assert.ok(server.slept[0] >= 500 && server.slept[0] <= 1000);
    assert.ok(server.slept[2] >= 2000 && server.slept[2] <= 4000);
    assert.equal(server.slept[3], 90_000);
  });

  it("waits for a chunk that somebody else is sending, without counting it a failure", async () => {
    const server = new Server(1);
    server.refusals = [new Problem(409, { code: "chunk_busy" }, 2), new Problem(409, { code: "chunk_busy" }, 3)];
    const { sender, phases } = senderTo(server);
    await sender.run();
    assert.deepEqual(server.slept, [2000, 3000]);
    assert.equal(phases.includes("waiting"), false);
    assert.equal(sender.phase, "received");
  });

  it("reads a chunk that arrived damaged once more, and gives up the second time", async () => {
    const damaged = () => new Problem(400, { code: "digest_mismatch", detail: "damaged" });
    const server = new Server(1);
    server.refusals = [damaged()];
    const { sender } = senderTo(server);
    await sender.run();
    assert.equal(sender.phase, "received");
    assert.equal(server.cuts, 2);

    const worse = new Server(1);
    worse.refusals = [damaged(), damaged()];
    const { sender: second } = senderTo(worse);
    await second.run();
    assert.equal(second.phase, "stopped");
    assert.equal(second.sentence, "damaged");
    assert.equal(worse.completed, 0);
  });

  it("stops with a clear sentence when a file has changed", async () => {
    const conflict = new Server(18);
    conflict.refusals = [new Problem(409, { code: "chunk_conflict" })];
    const { sender } = senderTo(conflict);
    await sender.run();
    assert.equal(sender.phase, "stopped");
    assert.equal(sender.sentence, CHANGED);
    assert.equal(conflict.completed, 0);

    const { sender: second } = senderTo(new Server(18), {
      cut: async () => {
        throw new FileChanged();
      },
    });
    await second.run();
    assert.equal(second.sentence, CHANGED);
  });

  it("stops at once when the session is over, and goes on when asked", async () => {
    const server = new Server(18);
    server.refusals = [new Problem(401, { code: "not_authenticated" })];
    const { sender } = senderTo(server);
    await sender.run();
    assert.equal(sender.phase, "stopped");
    assert.match(sender.sentence, /no longer logged in/);
    await sender.run();
    assert.equal(sender.phase, "received");
    assert.equal(server.missing.size, 0);
  });

  it("sends again what the server lost before the seal", async () => {
    const server = new Server(18);
    let lost = false;
    server.refuseSeal = () => {
      if (!lost) server.missing.add(7).add(8);
      lost = true;
      return null;
    };
    const { sender } = senderTo(server);
    await sender.run();
    assert.equal(sender.phase, "received");
    assert.equal(server.puts.filter((chunk) => chunk === 7).length, 2);
    assert.equal(server.puts.length, 20);
  });

  it("pauses in the middle and goes on from there", async () => {
    const server = new Server(18);
    const { sender } = senderTo(server);
    const doors = server.doors();
    sender.doors.put = (path, octets, options) => {
      if (server.puts.length === 6) sender.pause();
      return doors.put(path, octets, options);
    };
    await sender.run();
    assert.equal(sender.phase, "paused");
    assert.ok(server.missing.size > 0);
    assert.equal(server.completed, 0);
    sender.doors.put = doors.put;
    await sender.run();
    assert.equal(sender.phase, "received");
    assert.equal(server.completed, 1);
  });
});
