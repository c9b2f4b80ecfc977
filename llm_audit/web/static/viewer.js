// Keys, what can be copied, the browser's own times. Every page works without it.
const all = (what, where = document) => [...where.querySelectorAll(what)];
const one = (what) => document.querySelector(what);
const remember = (name, value, seconds = 31536000) => {
  const root = document.documentElement.dataset.root || "/";
  document.cookie = `${name}=${encodeURIComponent(value)}; path=${root}; max-age=${seconds}; samesite=lax`;
};

// The server writes times in this zone from now on, and the page in the scheme that is chosen.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const told = () => document.cookie.includes("llm_audit_tz=");
const isFirst = !told();
if (zone) remember("llm_audit_tz", zone);
// The first page of a browser is written again, unless its address names a zone.
const written = one("footer input[name=tz]")?.value ?? zone;
if (isFirst && told() && written !== zone && !new URLSearchParams(location.search).has("tz")) location.reload();
const scheme = one("#scheme");
if (scheme) {
  scheme.hidden = false;
  const select = scheme.querySelector("select");
  select.value = document.documentElement.dataset.theme ?? "";
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    remember("llm_audit_theme", select.value, select.value ? undefined : 0);
  });
}

// Times: those of the page stay, the browser's are said with them.
const pad = (number) => String(number).padStart(2, "0");
function local(at) {
  const day = [at.getFullYear(), pad(at.getMonth() + 1), pad(at.getDate())].join("-");
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(pad).join(":")}`;
}
function say_here(time) {
  const at = new Date(time.dateTime);
  if (isNaN(at) || time.title.startsWith(local(at))) return;
  time.title += `\n${local(at)} ${zone ?? "here"}`;
}

// Copying. Where a page comes over http from another machine, there is no navigator.clipboard.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "skip";
    document.body.append(field);
    field.select();
    const is_done = document.execCommand("copy");
    field.remove();
    return is_done;
  }
}
function offer_copy(what) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copies";
  button.textContent = "Copy";
  button.title = what.matches("pre") ? "" : `Copy ${what.textContent.slice(0, 60)}`;
  button.addEventListener("click", async () => {
    const is_done = await copy(what.textContent);
    if (!is_done) getSelection().selectAllChildren(what);
    button.textContent = is_done ? "Copied" : "Press Ctrl-C";
    button.setAttribute("aria-live", "polite");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  what.matches("pre") ? what.before(button) : what.after(" ", button);
}

one("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // of a phone

// What has come into the page, at first or as a part of it.
function dress() {
  for (const time of all("time[datetime]:not([data-dressed])")) {
    time.dataset.dressed = "";
    say_here(time);
  }
  for (const what of all(".copy:not([data-dressed])")) {
    what.dataset.dressed = "";
    offer_copy(what);
  }
}
dress();
document.addEventListener("htmx:after:swap", dress);

// Nobody asks again and again for a tab that nobody sees.
document.addEventListener("htmx:before:request", (event) => {
  const is_poll = event.target.getAttribute?.("hx-trigger")?.startsWith("every");
  if (is_poll && document.hidden) event.preventDefault();
});

// Keys.
const ROWS = "main table.rows tbody tr, main .hit, main .turn";
const link_of = (row) => all("a[href]", row).find((link) => link.checkVisibility());
const current = () => document.activeElement?.closest?.(ROWS);
function go_on(step) {
  const rows = all(ROWS).filter(link_of);
  const at = rows.indexOf(current());
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  if (!next) return;
  link_of(next).focus({ preventScroll: true, focusVisible: true });
  next.scrollIntoView({ block: "nearest" });
}
const follow = (what) => one(what)?.click();
const keys = one("#keys");
const KEYS = {
  "/": () => { const field = one("form.search input"); field?.focus(); field?.select(); },
  "?": () => keys?.open ? keys.close() : keys?.showModal(),
  j: () => go_on(1),
  k: () => go_on(-1),
  o: () => (current() ? document.activeElement.closest("a") ?? link_of(current()) : null)?.click(),
  n: () => follow('main a[data-key="n"]'),
  "[": () => follow('main a[rel="prev"]'),
  "]": () => follow('main a[rel="next"]'),
  g: () => { waits_until = performance.now() + 1500; },
};
const FIELDS = "input, textarea, select, [contenteditable]";
let waits_until = 0;
document.addEventListener("keydown", (event) => {
  // what takes AltGr on a keyboard counts as the sign that it makes
  const is_modified = event.ctrlKey || event.altKey || event.metaKey;
  if (event.defaultPrevented || event.isComposing) return;
  if (is_modified && !event.getModifierState("AltGraph")) return;
  if (event.target.matches?.(FIELDS)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (keys?.open && event.key !== "?") return;
  const is_second = performance.now() < waits_until;
  waits_until = 0;
  const page = is_second && all("[data-go]").find((link) => link.dataset.go === event.key);
  const act = page ? () => page.click() : is_second ? undefined : Object.hasOwn(KEYS, event.key) && KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
for (const opener of all("[data-opens-keys]")) {
  opener.hidden = false;
  opener.addEventListener("click", () => keys.showModal());
}
