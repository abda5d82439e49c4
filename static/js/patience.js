// Trying again what fails for a passing reason.

import { Problem } from "./api.js";
import { delay } from "./backoff.js";

/** @typedef {(milliseconds: number, signal: AbortSignal) => Promise<void>} Sleep */

/**
 * Waits, but not longer than until the network is back.
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(wake, milliseconds);
    function tidy() {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", wake);
      signal.removeEventListener("abort", stop);
    }
    function wake() {
      tidy();
      resolve();
    }
    function stop() {
      tidy();
      reject(signal.reason);
    }
    globalThis.addEventListener?.("online", wake);
    signal.addEventListener("abort", stop);
  });
}

/**
 * Repeats what fails for a passing reason, ever more slowly; whatever else goes wrong is thrown.
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {Sleep} [options.sleep]
 * @param {(why: string, milliseconds: number) => void} options.waiting
 * @returns {Promise<T>}
 */
export async function insist(attempt, { signal, sleep: pause = sleep, waiting }) {
  for (let failures = 0; ;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "chunk_busy") {
        await pause((error.retryAfter ?? 2) * 1000, signal);
      } else if (error.passing) {
        const wait = delay(++failures, { retryAfter: error.retryAfter });
        waiting(error.message, wait);
        await pause(wait, signal);
      } else {
        throw error;
      }
    }
  }
}
