// The panel above the cards: how far all of it has come, and whether the page may be closed.

import { percent } from "./card.js";
import { bytes, count, duration } from "./format.js";

/** @typedef {import("./handin.js").HandIn} HandIn */

const TITLE = "New upload · RelayPACS";

export class Overall {
  /** @param {(text: string) => void} say for a screen reader */
  constructor(say) {
    this.say = say;
    this.panel = /** @type {HTMLElement} */ (document.getElementById("overall"));
    this.said = "";
  }

  /** @param {HandIn[]} handIns all that were confirmed and not cancelled */
  show(handIns) {
    const total = handIns.reduce((sum, { size }) => sum + size, 0);
    const sent = handIns.reduce((sum, handIn) => sum + handIn.sent, 0);
    const arrived = handIns.filter((handIn) => handIn.arrived).length;
    const risk = handIns.some(({ atRisk }) => atRisk);
    const moving = handIns.some((handIn) => handIn.moving);
    const [title, safe] = standing({ risk, moving, arrived, all: handIns.length });
    const bar = /** @type {HTMLProgressElement} */ (this.panel.querySelector("progress"));
    bar.max = Math.max(1, total);
    bar.value = sent;
    bar.hidden = !risk && arrived === 0;
    this.#write("#overall-title", title);
    this.#write("#overall-text", bar.hidden ? "" : figures(handIns, { sent, total, arrived }));
    this.#write("#safe", safe);
    document.title = risk ? `${percent(sent, total)} · ${TITLE}` : TITLE;
    this.#tell(moving ? `${Math.floor((sent / Math.max(1, total)) * 4) * 25} per cent uploaded` : safe);
    this.panel.hidden = false;
  }

  /**
   * @param {string} selector
   * @param {string} text
   */
  #write(selector, text) {
    /** @type {HTMLElement} */ (this.panel.querySelector(selector)).textContent = text;
  }

  /** @param {string} text said once, not with every chunk */
  #tell(text) {
    if (text !== this.said) this.say(text);
    this.said = text;
  }
}

/**
 * @param {HandIn[]} handIns
 * @param {{ sent: number, total: number, arrived: number }} sums
 */
function figures(handIns, { sent, total, arrived }) {
  const rate = handIns.find(({ stage }) => stage === "sending")?.rate;
  const left = rate ? [`${bytes(rate)}/s`, `${duration((total - sent) / rate)} left`] : [];
  const studies = `${arrived} of ${count(handIns.length, "study", "studies")} received`;
  return [`${bytes(sent)} of ${bytes(total)}`, ...left, studies].join(" · ");
}

/**
 * @param {{ risk: boolean, moving: boolean, arrived: number, all: number }} how arrived: studies received, of all
 * @returns {[string, string]} a heading, and whether the page may be closed
 */
export function standing({ risk, moving, arrived, all }) {
  if (moving) return ["Uploading", "Keep this page open until everything has been received."];
  if (risk) return ["Not finished", "Not everything has been received. See below for what is paused or has stopped."];
  if (arrived === 0) return ["Nothing was sent", "Nothing of this is on its way; you may close this page."];
  const what = arrived === all ? "everything has been received" : `${arrived} of ${all} studies have been received`;
  return ["Received", `You may close this page: ${what}. Received is not delivered; the uploads page says when it is.`];
}
