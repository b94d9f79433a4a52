// Brings pages up to date, opens the dialogs of actions, and hears keys. Pages are read without it.
"use strict";

const $ = (id) => document.getElementById(id);
const body = document.body;
const skew = Date.now() - Number(body.dataset.now || Date.now());

// Times: how long ago, or how long still, once a second.

function lasting(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 1) return "less than 1 s";
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

function tick() {
  const now = Date.now() - skew;
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const ago = now - Number(time.dataset.ms);
    let text = Math.abs(ago) < 1000 ? "just now" : ago >= 0 ? `${lasting(ago)} ago` : `in ${lasting(-ago)}`;
    if (time.className === "left") text = ago >= 0 ? "any moment" : `${lasting(-ago)} left`;
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(tick, 1000);

// Live: the server says what has changed; the page is fetched again, and what differs is put in.

const missing = body.dataset.missing || ""; // what this page is to show is not there yet
const watched = missing || (body.dataset.watch || "").trim();
const pace = Number(body.dataset.pace || 500); // not more often than that
const live = $("live");
const AT_LEAST_EVERY_MS = 10000; // time passes without anything having changed: nobody may have been at work
let trouble = ""; // what stands in the way of being told
let over = false; // the login has ended
const OVER = "Your login has ended: log in once more in another tab, and then try again here.";
let due = null;
let fetched = Date.now();
let fetching = false;
const FOCUSABLE = "a, button, summary, [tabindex]";

function concerns(changes) {
  const names = watched.split(" ");
  return changes.some((one) => names.includes(one.kind) || names.includes(`${one.kind}/${one.subject}`));
}

function soon() {
  if (due === null) due = setTimeout(refresh, Math.max(50, fetched + pace - Date.now()));
}

async function refresh() {
  due = null;
  if (fetching || document.hidden || $("act").open || $("shown").open) return void (due = setTimeout(refresh, 1000));
  fetching = true;
  fetched = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    // The login has ended meanwhile: this page is not to be seen any more.
    if (answer.redirected && new URL(answer.url).pathname === "/login") return void location.reload();
    if (missing) return void (answer.ok && location.reload());
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
      if (fresh === null || fresh.innerHTML === part.dataset.was) continue;
      const at = [...part.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.dataset.id);
      const line = document.activeElement.closest("details")?.dataset.id;
      part.dataset.was = fresh.innerHTML;
      part.innerHTML = fresh.innerHTML;
      for (const one of part.querySelectorAll("details")) one.open = open.includes(one.dataset.id);
      arm();
      // Whoever works with the keyboard goes on from the same place, also if new lines came above.
      const same = line && part.querySelector(`details[data-id="${line}"] summary`);
      if (same) same.focus({ preventScroll: true });
      else if (at >= 0) part.querySelectorAll(FOCUSABLE)[at]?.focus({ preventScroll: true });
    }
    tick();
    if (over) {
      over = false; // somebody has logged in again
      watch();
    }
    say(trouble);
  } catch {
    say(trouble || "not up to date");
    due ??= setTimeout(refresh, 2000);
  } finally {
    fetching = false;
  }
}

function say(text) {
  if (live === null) return;
  live.textContent = text || (missing ? "waiting for it" : "live");
  const to = encodeURIComponent(location.pathname + location.search);
  if (over) live.append(" ", Object.assign(document.createElement("a"), { href: `/login?to=${to}`, textContent: "log in" }));
}

function watch() {
  const source = new EventSource(missing ? "/v1/events" : `/v1/events?after=${body.dataset.mark}`);
  source.addEventListener("open", () => {
    say((trouble = ""));
    if (missing) soon(); // it may have come before anybody watched
  });
  source.addEventListener("changed", (event) => concerns(JSON.parse(event.data)) && soon());
  source.addEventListener("reset", () => {
    trouble = "";
    soon();
  });
  source.addEventListener("stale", () => say((trouble = "stale: Postgres does not answer")));
  source.addEventListener("error", async () => {
    say((trouble = "connecting again"));
    // The browser tries again by itself, unless it was refused.
    if (source.readyState !== EventSource.CLOSED) return;
    over = (await fetch("/v1/me").catch(() => null))?.status === 401;
    if (over) {
      say((trouble = "your login has ended:"));
      if ($("act").open) $("act-error").textContent = OVER;
    } else setTimeout(watch, 5000);
    soon(); // which leads to the login, unless a dialog is open
  });
}
if (body.dataset.mark || missing) {
  watch();
  document.addEventListener("visibilitychange", () => document.hidden || soon());
  setInterval(() => Date.now() - fetched >= AT_LEAST_EVERY_MS && soon(), 1000);
}

// Actions: what it will affect, why, for how long, and the same as a command.

const dialog = $("act");
const form = dialog.querySelector("form");
const PLAIN = ["rate", "paused", "time_zone", "when_away"]; // fields of a quota that are text
let order = null;
let asked = null; // what was last asked for, and may have been done although no answer came
const written = new Map(); // the revision after what was done here: it may not be on the page yet

function decidedBy() {
  const shown = Number(order.etag.slice(1, -1));
  return `"${Math.max(shown, written.get(order.path) || 0)}"`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function sh(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : quoted(text);
}

function words(ms) {
  return ms % 86400000 === 0 ? `${ms / 86400000}d` : ms % 3600000 === 0 ? `${ms / 3600000}h` : `${ms / 60000}m`;
}

function asks(name) {
  return order.ask.includes(name);
}

// The fields of a quota that somebody has written something into.
function changes() {
  const found = {};
  for (const { name, value } of $("act-fields").querySelectorAll("input")) {
    const text = value.trim();
    if (text === "none") found[name] = null;
    else if (text !== "") found[name] = PLAIN.includes(name) || !/^(-?\d+(\.\d+)?|true|false)$/.test(text) ? text : JSON.parse(text);
  }
  return found;
}

// What only some actions ask for: a text, or one of several, with the same as part of a command.
function given() {
  return (order.inputs || []).map(({ name, options, needed, cli }) => {
    const field = $(`i-${name}`);
    if (options) return { name, value: options[field.selectedIndex][0], cli: options[field.selectedIndex][2] };
    const text = field.value.trim();
    const shown = text || needed ? `${cli ? `${cli} ` : ""}${sh(text || "...")}` : "";
    return { name, value: text || null, cli: shown };
  });
}

function begin() {
  return asks("begin") && $("f-from").value !== "" ? new Date($("f-from").value).getTime() : null;
}

function message(dry) {
  const sent = structuredClone(order.body);
  if (asks("resource")) sent.resource = $("f-resource").value.trim();
  for (const { name, value } of given()) sent[name] = value;
  if (asks("quota")) sent.quota = { ...order.quota, ...changes() };
  if (asks("below") && $("f-below").checked) sent.allow_below_usage = true;
  const inner = sent.action && typeof sent.action === "object" ? sent.action : sent;
  const ms = $("f-for").value === "" ? null : Number($("f-for").value);
  if (asks("for")) sent.for_ms = ms;
  if (asks("until") && ms !== null) inner.until_ms = Date.now() - skew + ms;
  if (begin() !== null) inner.begins_at_ms = begin();
  if (asks("ends")) inner.for_ms = ms;
  if (asks("changes")) inner.changes = changes();
  if (asks("share")) inner.share = Number($("f-share").value) / 100;
  if (asks("amount")) inner.capacity = { [order.amount]: Number($("f-amount").value) };
  sent.reason = $("f-reason").value.trim() || (dry ? "what it would do" : "");
  sent.dry_run = dry;
  return sent;
}

function command() {
  const reason = $("f-reason").value.trim() || "...";
  let text = order.cli;
  const ms = $("f-for").value;
  if (asks("resource")) text += ` ${sh($("f-resource").value.trim() || "...")}`;
  for (const { cli } of given()) if (cli) text += ` ${cli}`;
  if (asks("changes") || asks("quota")) for (const [name, value] of Object.entries(changes())) text += ` ${sh(`${name}=${value ?? "none"}`)}`;
  if (asks("amount")) text += ` ${order.amount}=${$("f-amount").value}`;
  if (asks("share")) text += ` --to ${$("f-share").value === "0" ? "0" : `${$("f-share").value}%`}`;
  if (begin() !== null) text += ` --from ${new Date(begin()).toISOString()}`;
  if ((asks("for") || asks("until") || asks("ends")) && ms !== "") text += ` --for ${words(Number(ms))}`;
  if (asks("below") && $("f-below").checked) text += " --allow-below-usage";
  return `${text} --reason ${quoted(reason)}`;
}

// Asked for again, it is the same to the letter, also its times and its key: so it is done once.
// Other fields are another wish, with a key of its own.
function wish() {
  const fields = JSON.stringify([...form.elements].map((one) => (one.type === "checkbox" ? one.checked : one.value)));
  if (asked === null || asked.fields !== fields) {
    const key = [...crypto.getRandomValues(new Uint8Array(8))].map((one) => one.toString(16).padStart(2, "0")).join("");
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    if (order.etag) headers["If-Match"] = decidedBy();
    asked = { fields, headers, body: JSON.stringify(message(false)) };
  }
  return asked;
}

async function send(dry) {
  const { headers, body } = dry
    ? { headers: { "Content-Type": "application/json" }, body: JSON.stringify(message(true)) }
    : wish();
  const answer = await fetch(order.path, { method: order.method || "POST", headers, body });
  const said = await answer.json().catch(() => ({ detail: `error ${answer.status}` }));
  if (answer.status === 401) said.detail = OVER;
  if (answer.ok && !dry && said.revision) written.set(order.path, said.revision);
  // It was done, or is refused for what it is: whoever asks once more means it anew.
  if (!dry && (answer.ok || [400, 404, 409, 412, 422].includes(answer.status))) asked = null;
  return { ok: answer.ok, said };
}

function effect(said) {
  const data = said.data || {};
  if (Array.isArray(data)) return `It would ${data.map((one) => `${one.action} ${one.target}: ${one.lines.join("; ")}`).join(". ") || "change nothing"}.`;
  const before = data.before?.changes || data.before || {};
  const fields = Object.entries(data.after?.changes || {}).map(([name, value]) => `${name} ${before[name] ?? "none"} → ${value ?? "none"}`);
  if (data.capacity) return `It would have ${Object.entries(data.capacity).map(([name, units]) => `${units} ${name}`).join(", ")}${data.message ? `; ${data.message}` : ""}.`;
  if (data.message) return `It would: ${[data.message, ...fields].join("; ")}.`;
  if (asks("share") && data.throttle && data.override) return `At most ${Math.round(data.throttle.share * 100)}% of the calls would pass when ${data.state} has ended; until then, it decides.`;
  if (asks("share") && data.throttle) return `At most ${Math.round(data.throttle.share * 100)}% of the calls would pass; the breaker is ${data.state}.`;
  if (data.state) return `It would be ${data.state}${data.override ? "" : `: ${data.reason}`}.`;
  if (data.told !== undefined) return `${data.told} running ledgers would be told.`;
  if (data.reply) return `It would: ${data.reply.message}.`;
  return "";
}

let trying = null;
function redraw() {
  $("act-cli").textContent = command();
  clearTimeout(trying);
  trying = null; // an answer to what was written before counts no more
  $("act-effect").textContent = "";
  if (![...form.elements].every((one) => one.id === "f-reason" || one.checkValidity())) {
    return; // nothing is known of what is not written yet
  }
  const mine = (trying = setTimeout(async () => {
    try {
      const { ok, said } = await send(true);
      if (trying !== mine || !dialog.open) return;
      $("act-effect").textContent = ok ? effect(said) : "";
      $("act-error").textContent = ok ? "" : said.detail;
    } catch {
      // Nothing is known of it then.
    }
  }, 300));
}

// An input for each field of a quota, with what it is now where something else can be written; what is
// proposed comes first, as the list is long.
function ask(fields, preset) {
  $("act-fields").hidden = Object.keys(fields).length === 0;
  $("act-fields").querySelector("div").replaceChildren(
    ...Object.entries(fields).sort(([one], [other]) => (other in preset) - (one in preset)).flatMap(([name, now]) => {
      const label = Object.assign(document.createElement("label"), { htmlFor: `f-${name}`, textContent: name });
      const input = Object.assign(document.createElement("input"), { id: `f-${name}`, name, maxLength: 500, autocomplete: "off" });
      input.placeholder = now ?? "none";
      input.value = preset[name] ?? "";
      return [label, input];
    }),
  );
}

function askFor(inputs) {
  $("act-inputs").hidden = inputs.length === 0;
  $("act-inputs").replaceChildren(
    ...inputs.flatMap(({ name, label, options, needed }) => {
      const field = document.createElement(options ? "select" : "input");
      if (options) field.replaceChildren(...options.map(([, text]) => new Option(text)));
      else Object.assign(field, { maxLength: 200, autocomplete: "off", required: Boolean(needed) });
      field.id = `i-${name}`;
      return [Object.assign(document.createElement("label"), { htmlFor: field.id, textContent: label }), field];
    }),
  );
}

function open(button) {
  order = JSON.parse(button.dataset.act);
  asked = null;
  $("act-title").textContent = order.title;
  $("act-now").textContent = order.now || "";
  $("act-error").textContent = $("act-effect").textContent = "";
  // As if nothing had been chosen before: what was right for one action may be wrong for this one.
  $("act-share").hidden = $("f-share").disabled = !asks("share");
  $("f-share").value = "50";
  $("act-for").hidden = !(asks("for") || asks("until") || asks("ends"));
  $("f-forever").hidden = $("f-forever").disabled = asks("ends") || asks("limited");
  $("f-for").value = asks("ends") || asks("limited") ? "3600000" : "1800000";
  $("act-amount").hidden = $("f-amount").disabled = !asks("amount");
  if (asks("amount")) {
    $("act-amount-label").textContent = order.amount;
    $("f-amount").value = order.value;
  }
  $("act-resource").hidden = $("f-resource").disabled = !asks("resource");
  $("f-resource").value = "";
  $("f-resources").replaceChildren(...["*", ...(order.resources || [])].map((name) => new Option(name, name)));
  $("act-begin").hidden = !asks("begin");
  $("f-from").value = "";
  $("act-below").hidden = !asks("below");
  $("f-below").checked = false;
  ask(order.fields || {}, order.preset || {});
  askFor(order.inputs || []);
  $("f-reason").value = "";
  $("act-do").disabled = false;
  dialog.showModal();
  $(asks("resource") ? "f-resource" : order.inputs ? `i-${order.inputs[0].name}` : "f-reason").focus();
  redraw();
}

function arm() {
  for (const button of document.querySelectorAll("button.act[hidden]")) {
    button.hidden = false;
    button.addEventListener("click", () => open(button));
  }
}
arm();
tick();

form.addEventListener("input", redraw);
$("act-cancel").addEventListener("click", () => dialog.close());
for (const [id, from] of [["act-copy", "act-cli"], ["shown-copy", "shown-text"]]) {
  $(id).addEventListener("click", async () => {
    await navigator.clipboard.writeText($(from).textContent);
    $(id).textContent = "Copied";
    setTimeout(() => ($(id).textContent = "Copy"), 2000);
  });
}
// What is shown once: not closed by a slip, and gone when it is closed.
$("shown").addEventListener("cancel", (event) => event.preventDefault());
$("shown").addEventListener("close", () => ($("shown-text").textContent = ""));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clearTimeout(trying);
  trying = null;
  $("act-do").disabled = true;
  $("act-error").textContent = "";
  $("act-effect").textContent = "telling Headgate";
  try {
    const { ok, said } = await send(false);
    $("act-effect").textContent = "";
    if (ok) {
      dialog.close();
      say("done");
      soon();
      if (said.data?.secret) {
        $("shown-text").textContent = said.data.secret;
        $("shown").showModal();
      }
    } else $("act-error").textContent = said.detail;
  } catch {
    $("act-error").textContent = "Headgate does not answer; try again: it is not done twice.";
  }
  $("act-do").disabled = false;
});

// Keys.

$("hint")?.removeAttribute("hidden");
let went = 0;
document.addEventListener("keydown", (event) => {
  if ($("keys") === null || event.ctrlKey || event.metaKey || event.altKey) return; // the login has no keys
  if (event.target.closest("input, select, textarea, dialog")) return;
  const page = [...$("keys").querySelectorAll("a")].find((link) => link.dataset.key === event.key);
  if (Date.now() - went < 1500 && page) location.href = page.href;
  else if (event.key === "g") went = Date.now();
  else if (event.key === "?") $("keys").showModal();
  else if (event.key === "/") {
    event.preventDefault();
    if ($("search") === null) location.href = "/jobs#search";
    else $("search").focus();
  }
});
if (location.hash === "#search") $("search")?.focus();
