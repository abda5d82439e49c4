// The panel of uploads that wait for the rest of their bytes.

import { call } from "./api.js";
import { bytes } from "./format.js";
import { unfinished } from "./resume.js";
import { localTime } from "./times.js";

/**
 * Shows what waits, but for what this page is sending itself.
 * @param {Set<string>} own ids
 */
export async function showUnfinished(own) {
  const panel = /** @type {HTMLElement} */ (document.getElementById("unfinished"));
  const list = /** @type {HTMLElement} */ (document.getElementById("unfinished-list"));
  const uploads = (await unfinished().catch(() => [])).filter(({ id }) => !own.has(id));
  list.replaceChildren(...uploads.map((upload) => row(upload, own)));
  panel.hidden = uploads.length === 0;
}

/**
 * @param {Record<string, any>} upload
 * @param {Set<string>} own
 */
function row(upload, own) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  const link = document.createElement("a");
  link.href = `/uploads/${upload.id}/`;
  link.textContent = `Begun ${localTime(new Date(upload.created_at), "minutes")} by ${upload.created_by}`;
  const { received_bytes: received, total_size: total } = upload.progress;
  text.append(link, `: ${bytes(received)} of ${bytes(total)} have arrived`);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button danger";
  button.textContent = "Cancel it";
  button.onclick = async () => {
    if (!confirm("Cancel this upload? What has arrived of it is removed.")) return;
    try {
      await call("DELETE", `/uploads/${upload.id}`);
      await showUnfinished(own);
    } catch (error) {
      text.append(`. It could not be cancelled: ${error instanceof Error ? error.message : ""}`);
    }
  };
  item.append(text, button);
  return item;
}
