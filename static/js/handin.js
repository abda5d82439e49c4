// One study on its way from the disk to "received": digested, opened or taken up again, sent and sealed.

import { call, Problem } from "./api.js";
import { chunkSizeFor } from "./pack.js";
import { insist } from "./patience.js";
import { filesOf, match, unfinished } from "./resume.js";
import { Sender, sentenceFor } from "./sender.js";
import { digestOf, hex } from "./sha256.js";

/**
 * @typedef {import("./studies.js").Study} Study
 * @typedef {import("./studies.js").Item} Item
 * @typedef {import("./hands.js").Hands} Hands
 * @typedef {{ clinic: string, level: string, history: string }} Wishes
 * @typedef {"queued" | "digesting" | "opening" | "waiting" | "sending" | "paused" | "sealing" | "received" | "stopped" |
 *   "known" | "cancelled"} Stage
 */

const RATE_KEY = "relaypacs.rate"; // bytes per second of the last upload; nothing about patients is kept in the browser
const DIGESTS_AT_ONCE = 3;

function rateBefore() {
  try {
    return Number(localStorage.getItem(RATE_KEY)) || null;
  } catch {
    return null;
  }
}

/** @param {number} rate */
function keepRate(rate) {
  try {
    localStorage.setItem(RATE_KEY, String(Math.round(rate)));
  } catch {
    // a browser that keeps nothing starts from the usual chunk size
  }
}

export class HandIn {
  /**
   * @param {Study} study
   * @param {Hands} hands
   * @param {(handIn: HandIn) => void} changed
   */
  constructor(study, hands, changed) {
    this.study = study;
    this.hands = hands;
    this.changed = changed;
    /** @type {Stage} */
    this.stage = "digesting";
    this.sentence = "";
    this.retryAt = 0;
    this.digested = 0;
    this.id = "";
    this.earlier = ""; // the upload in which these images were handed in before
    /** @type {{ begun: string, level: string } | null} the unfinished upload that this one goes on with */
    this.resumed = null;
    this.allowDuplicate = false;
    /** @type {Sender | null} */
    this.sender = null;
    this.stop = new AbortController();
    /** @type {Promise<void> | null} */
    this.digests = null;
  }

  get size() {
    return this.study.size;
  }

  get sent() {
    if (this.stage === "received") return this.size;
    return this.sender ? this.sender.sent : 0;
  }

  get rate() {
    return this.sender?.rate.value ?? null;
  }

  /** Whether closing the page now would interrupt it. */
  get atRisk() {
    return !["received", "cancelled", "known"].includes(this.stage);
  }

  get arrived() {
    return this.stage === "received";
  }

  /** Whether something is being done for it, or will be without anybody doing anything. */
  get moving() {
    return ["queued", "digesting", "opening", "waiting", "sending", "sealing"].includes(this.stage);
  }

  /** Digests every file, once; begins while the person is still reading the card. */
  digest() {
    this.digests ??= this.#digestAll();
    return this.digests;
  }

  async #digestAll() {
    this.digested = 0;
    const queue = this.study.items.values();
    const line = async () => {
      for (const item of queue) {
        let told = 0;
        item.sha256 = await this.hands.ask("digest", item.file, (bytes) => {
          this.digested += bytes - told;
          told = bytes;
          this.changed(this);
        });
      }
    };
    await Promise.all(Array.from({ length: DIGESTS_AT_ONCE }, line));
  }

  /** Its turn comes when the studies before it have been sent. */
  queue() {
    this.#show("queued");
  }

  /**
   * Goes as far as it can; may be called again after it stopped or was paused.
   * @param {Wishes} wishes
   */
  async run(wishes) {
    this.stop = new AbortController();
    const { signal } = this.stop;
    try {
      this.#show("digesting");
      await this.digest();
      signal.throwIfAborted(); // paused or cancelled meanwhile
      if (!this.sender) await this.#open(wishes);
      if (this.sender) await this.sender.run();
    } catch (error) {
      if (this.digested < this.size) this.digests = null;
      if (this.stage === "paused" || this.stage === "cancelled" || this.stage === "known") return;
      this.#show("stopped", sentenceFor(error));
    }
  }

  pause() {
    if (this.sender) {
      this.sender.pause();
      return;
    }
    this.#show("paused");
    this.stop.abort();
  }

  /** Gives the upload up, here and on the server. */
  async cancel() {
    const id = this.id;
    this.#show("cancelled");
    this.sender?.stop.abort();
    this.stop.abort();
    if (id) await call("DELETE", `/uploads/${id}`);
  }

  /** @param {Wishes} wishes */
  async #open(wishes) {
    this.#show("opening");
    const upload = (await this.#takeUp(wishes)) ?? (await this.#create(wishes));
    if (!upload) return;
    this.id = upload.id;
    const parts = upload.items.map(({ file, sha256 }) => ({ file, sha256 }));
    this.sender = new Sender(upload, parts, (sender) => this.#follow(sender), {
      cut: (cuts) => this.hands.ask("cut", cuts),
    });
  }

  /**
   * An unfinished upload of the very same files, if there is one.
   * @param {Wishes} wishes
   */
  async #takeUp({ clinic }) {
    const waiting = await this.#insist(unfinished);
    for (const upload of waiting) {
      if (upload.total_size !== this.size || upload.clinic !== clinic) continue;
      const items = match(await this.#insist(() => filesOf(upload.id)), this.study.items);
      if (!items) continue;
      this.resumed = { begun: upload.created_at, level: upload.service_level };
      return { id: upload.id, chunk_size: upload.chunk_size, items };
    }
    return null;
  }

  /** @param {Wishes} wishes */
  async #create(wishes) {
    const body = JSON.stringify(this.#manifest(wishes));
    const key = hex(await digestOf(new TextEncoder().encode(body)));
    for (let round = 0; ; round++) {
      const headers = { "Idempotency-Key": `${key}.${round}` };
      let answer;
      try {
        answer = await this.#insist(() => call("POST", "/uploads", { body, headers, signal: this.stop.signal }));
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "duplicate_study") throw error;
        return this.#known(String(error.body.upload_id ?? ""), error.message);
      }
      const { id, state, chunk_size } = answer.body;
      if (state === "receiving") return { id, chunk_size, items: this.study.items };
      // the same hand-in came to an end before: what was given up, or is wanted once more, is begun anew; the rest is shown
      if (!this.allowDuplicate && !["cancelled", "expired", "rejected"].includes(state)) {
        return this.#known(id, "These very files were handed in before.");
      }
    }
  }

  /**
   * @param {string} id
   * @param {string} sentence
   */
  #known(id, sentence) {
    this.earlier = id;
    this.#show("known", sentence);
    return null;
  }

  /** @param {Wishes} wishes */
  #manifest({ clinic, level, history }) {
    const { items, uid } = this.study;
    const instances = items.flatMap(({ header }, index) =>
      header?.sopInstance ? [{ sop_instance_uid: header.sopInstance, file: index }] : [],
    );
    return {
      files: items.map(({ path, file, sha256 }) => ({ name: path.slice(-1024), size: file.size, sha256 })),
      chunk_size: chunkSizeFor(rateBefore()),
      clinic,
      service_level: level,
      clinical_history: history,
      ...(uid && { studies: [{ study_instance_uid: uid, instances }] }),
      ...(this.allowDuplicate && { allow_duplicate: true }),
    };
  }

  /**
   * @template T
   * @param {() => Promise<T>} attempt
   */
  #insist(attempt) {
    return insist(attempt, {
      signal: this.stop.signal,
      waiting: (why, wait) => {
        this.retryAt = Date.now() + wait;
        this.#show("waiting", why);
      },
    });
  }

  /** @param {Sender} sender */
  #follow(sender) {
    if (this.stage === "cancelled" || sender.phase === "idle") return;
    this.retryAt = sender.retryAt;
    if (sender.phase === "received" && sender.rate.value) keepRate(sender.rate.value);
    this.#show(sender.phase, sender.sentence);
  }

  /**
   * @param {Stage} stage
   * @param {string} [sentence]
   */
  #show(stage, sentence = "") {
    this.stage = stage;
    this.sentence = sentence;
    this.changed(this);
  }
}
