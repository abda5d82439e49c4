// Times as the clock on the wall shows them; without script the page gives them in UTC.

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const STYLES = {
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  seconds: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minutes: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" },
};

/**
 * @param {Date} moment
 * @param {string} style
 */
export function localTime(moment, style) {
  return moment.toLocaleString("en-GB", STYLES[style]);
}

/** @param {ParentNode} [within] */
export function localise(within = document) {
  for (const time of within.querySelectorAll("time[data-time], time[data-clock]")) {
    const moment = new Date(/** @type {HTMLTimeElement} */ (time).dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const style = time.hasAttribute("data-clock") ? "clock" : time.getAttribute("data-time") || "minutes";
    time.textContent = localTime(moment, style);
    time.setAttribute("title", moment.toISOString());
  }
}
