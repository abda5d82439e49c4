// What is not sent, and why: one list for each reason.

import { count } from "./format.js";
import { SENTENCES } from "./sniff.js";

const NAMED = 200;

/** @param {{ path: string, code: string }[]} leftOut */
export function showLeftOut(leftOut) {
  const details = /** @type {HTMLElement} */ (document.getElementById("left-out"));
  details.hidden = leftOut.length === 0;
  const summary = /** @type {HTMLElement} */ (details.querySelector("summary"));
  summary.textContent = `${count(leftOut.length, "file")} will not be sent`;
  const codes = [...new Set(leftOut.map(({ code }) => code))];
  document.getElementById("left-out-list")?.replaceChildren(
    ...codes.flatMap((code) =>
      groupOf(
        leftOut.filter((one) => one.code === code).map(({ path }) => path),
        code,
      ),
    ),
  );
}

/**
 * @param {string[]} paths
 * @param {string} code
 */
function groupOf(paths, code) {
  const head = document.createElement("h3");
  head.textContent = `${count(paths.length, "file")}: ${SENTENCES[code]}`;
  const list = document.createElement("ul");
  const names = paths.length > NAMED ? [...paths.slice(0, NAMED), `and ${paths.length - NAMED} more`] : paths;
  for (const name of names) {
    const item = document.createElement("li");
    item.className = "mono";
    item.textContent = name;
    list.append(item);
  }
  return [head, list];
}
