// Sends one upload: several chunks at a time, again and again until the server has them all, and then seals it.

import { call as askApi, Problem, put as putOctets } from "./api.js";
import { Rate } from "./backoff.js";
import { FileChanged } from "./hands.js";
import { expand, Pack } from "./pack.js";
import { insist, sleep } from "./patience.js";

/**
 * @typedef {{ file: File, sha256: string }} Part
 * @typedef {"idle" | "sending" | "waiting" | "paused" | "sealing" | "received" | "stopped"} Phase
 * @typedef {object} Doors how the outside is reached; tests bring their own
 * @property {typeof askApi} call
 * @property {typeof putOctets} put
 * @property {(cuts: object[]) => Promise<{ octets: ArrayBuffer, digest: string }>} cut
 * @property {import("./patience.js").Sleep} sleep
 * @property {() => number} now
 */

const AT_ONCE = 4;
const IN_MEMORY = 96 * 1024 * 1024;

export const CHANGED =
  "A file has changed, or can no longer be read, since it was chosen, so sending was stopped. " +
  "Cancel this upload, choose the folder again and start anew.";

export class Sender {
  /**
   * @param {{ id: string, chunk_size: number }} upload
   * @param {Part[]} parts the files, in the order of the manifest
   * @param {(sender: Sender) => void} changed called whenever there is something new to show
   * @param {Partial<Doors> & Pick<Doors, "cut">} doors
   */
  constructor(upload, parts, changed, doors) {
    this.id = upload.id;
    this.parts = parts;
    this.changed = changed;
    this.doors = { call: askApi, put: putOctets, sleep, now: () => performance.now(), ...doors };
    this.pack = new Pack(
      parts.map(({ file }) => file.size),
      upload.chunk_size,
    );
    this.rate = new Rate();
    /** @type {Phase} */
    this.phase = "idle";
    this.sentence = "";
    this.retryAt = 0;
    this.acknowledged = 0;
    /** @type {Map<number, number>} bytes on the way, by chunk */
    this.onTheWay = new Map();
    this.stop = new AbortController();
  }

  /** Bytes the server has acknowledged, and those on the way. */
  get sent() {
    return Math.min(
      this.pack.total,
      [...this.onTheWay.values()].reduce((sum, some) => sum + some, this.acknowledged),
    );
  }

  /** Sends until the upload is received, paused or stopped; may be called again after the latter two. */
  async run() {
    this.stop = new AbortController();
    this.#show("sending");
    try {
      await this.#sendAll();
      this.#show("received");
    } catch (error) {
      this.stop.abort(); // the other lines end as well
      this.onTheWay.clear();
      if (this.phase !== "paused") this.#show("stopped", sentenceFor(error));
      else this.changed(this);
    }
  }

  pause() {
    this.#show("paused");
    this.rate.forget();
    this.stop.abort();
  }

  async #sendAll() {
    let missing = await this.#askMissing();
    for (;;) {
      await this.#sendChunks(missing);
      this.#show("sealing");
      const refused = await this.#seal();
      if (!refused) return;
      missing = refused;
      this.#count(missing);
      this.#show("sending");
    }
  }

  async #askMissing() {
    const { body } = await this.#insist(() => this.#call("GET", ""));
    if (body.state !== "receiving") return [];
    const missing = expand(body.progress.missing);
    this.#count(missing);
    return missing;
  }

  /** @param {number[]} missing */
  #count(missing) {
    this.acknowledged = this.pack.total - missing.reduce((sum, chunk) => sum + this.pack.lengthOf(chunk), 0);
  }

  /** @param {number[]} missing */
  async #sendChunks(missing) {
    const queue = missing.values();
    const lines = Math.max(1, Math.min(AT_ONCE, Math.floor(IN_MEMORY / this.pack.chunkSize)));
    const line = async () => {
      for (const chunk of queue) await this.#sendChunk(chunk);
    };
    await Promise.all(Array.from({ length: lines }, line));
  }

  /** @param {number} chunk */
  async #sendChunk(chunk) {
    let damaged = 0;
    for (;;) {
      const { octets, digest } = await this.doors.cut(this.#cutsOf(chunk));
      try {
        await this.#insist(() => this.#put(chunk, octets, digest));
        break;
      } catch (error) {
        // damaged on the way: once more, from the disk
        if (!(error instanceof Problem) || error.code !== "digest_mismatch" || damaged++ > 0) throw error;
      }
    }
    this.onTheWay.delete(chunk);
    this.acknowledged += this.pack.lengthOf(chunk);
    this.#tell();
  }

  /** @param {number} chunk */
  #cutsOf(chunk) {
    return this.pack.piecesOf(chunk).map(({ file, start, end }) => ({ ...this.parts[file], start, end }));
  }

  /**
   * @param {number} chunk
   * @param {ArrayBuffer} octets
   * @param {string} digest
   */
  async #put(chunk, octets, digest) {
    this.onTheWay.set(chunk, 0);
    try {
      await this.doors.put(`/uploads/${this.id}/chunks/${chunk}`, octets, {
        digest,
        signal: this.stop.signal,
        tell: (sent) => {
          this.onTheWay.set(chunk, Math.min(sent, octets.byteLength));
          this.#tell();
        },
      });
    } catch (error) {
      this.onTheWay.delete(chunk);
      throw error;
    }
  }

  /**
   * @template T
   * @param {() => Promise<T>} attempt
   * @returns {Promise<T>}
   */
  async #insist(attempt) {
    const answer = await insist(attempt, {
      signal: this.stop.signal,
      sleep: this.doors.sleep,
      waiting: (why, wait) => {
        this.retryAt = Date.now() + wait;
        this.#show("waiting", why);
      },
    });
    if (this.phase === "waiting") this.#show("sending");
    return answer;
  }

  /** Answers null when the upload is sealed, else the chunks that the server misses after all. */
  async #seal() {
    const files = this.parts.map(({ sha256 }, index) => ({ index, sha256 }));
    try {
      await this.#insist(() => this.#call("POST", "/complete", JSON.stringify({ files })));
      return null;
    } catch (error) {
      if (error instanceof Problem && error.code === "chunks_missing") return expand(error.body.missing ?? []);
      throw error;
    }
  }

  /**
   * @param {string} method
   * @param {string} tail
   * @param {string} [body]
   */
  #call(method, tail, body) {
    return this.doors.call(method, `/uploads/${this.id}${tail}`, { body, signal: this.stop.signal });
  }

  #tell() {
    this.rate.note(this.doors.now(), this.sent);
    this.changed(this);
  }

  /**
   * @param {Phase} phase
   * @param {string} [sentence]
   */
  #show(phase, sentence = "") {
    this.phase = phase;
    this.sentence = sentence;
    this.changed(this);
  }
}

/**
 * Why sending stopped, in words to act on.
 * @param {unknown} error
 */
export function sentenceFor(error) {
  if (error instanceof FileChanged) return CHANGED;
  if (!(error instanceof Problem)) return "This page came across a fault; reload it and choose the same folder again.";
  if (error.code === "chunk_conflict" || error.code === "digest_conflict") return CHANGED;
  if (error.status === 401 || error.status === 403) {
    return "You are no longer logged in. Log in again in another tab, come back to this page and choose Try again.";
  }
  return error.message;
}
