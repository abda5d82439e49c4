// The page's end of a worker: a verb goes over, a promise comes back.

/** A file is not what it was when it was chosen, or is gone. */
export class FileChanged extends Error {
  constructor() {
    super("A file has changed, or can no longer be read, since it was chosen.");
  }
}

const BROKEN = "The part of this page that reads files could not be started; please reload the page.";
const GONE = new Set(["NotReadableError", "NotFoundError", "SecurityError"]);

/** @typedef {{ resolve: (found: any) => void, reject: (error: Error) => void, tell?: (bytes: number) => void }} Waiting */

export class Hands {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.next = 0;
    /** @type {Map<number, Waiting>} */
    this.waiting = new Map();
    this.broken = false;
    this.worker.onmessage = ({ data }) => this.#answer(data);
    this.worker.onerror = () => this.#fail();
  }

  /**
   * @param {string} verb
   * @param {unknown} what
   * @param {(bytes: number) => void} [tell]
   * @returns {Promise<any>}
   */
  ask(verb, what, tell) {
    if (this.broken) return Promise.reject(new Error(BROKEN));
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.waiting.set(id, { resolve, reject, tell });
      this.worker.postMessage({ id, verb, what });
    });
  }

  /** @param {{ id: number, found?: any, error?: string, bytes?: number }} data */
  #answer({ id, found, error, bytes }) {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    if (bytes !== undefined) {
      waiting.tell?.(bytes);
      return;
    }
    this.waiting.delete(id);
    if (error === undefined) waiting.resolve(found);
    else waiting.reject(GONE.has(error) ? new FileChanged() : new Error(`reading failed: ${error}`));
  }

  #fail() {
    this.broken = true;
    for (const { reject } of this.waiting.values()) reject(new Error(BROKEN));
    this.waiting.clear();
  }
}
