// The console's module: shows marked parts of the page anew whenever the server sends them, handles keys, the theme,
// and changes with Undo or in a dialog. Each page works without it.

const THEME_COOKIE = "cutout-theme";
const KEYS_OFF = "cutout-keys-off";
const POLL_MS = 5000;
const LONGEST_WAIT_MS = 30_000;
const SEQUENCE_MS = 1200;
const UNDO_MS = 10_000;

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

let isLeaving = false;

// --- The parts of the page that are fetched anew

const parts = all("[data-live]").map((element) => ({ element, name: element.dataset.live, tag: "", readAt: "", busy: false, again: false }));

async function renew(part) {
  if (part.busy) {
    part.again = true;
    return;
  }
  part.busy = true;
  try {
    do {
      part.again = false;
      if (document.hidden) return;
      await fetchPart(part);
    } while (part.again);
  } catch {
    setOffline(true);
  } finally {
    part.busy = false;
  }
}

async function fetchPart(part) {
  const headers = { "Cutout-Fragment": part.name };
  if (part.tag) headers["If-None-Match"] = part.tag;
  const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
  if (answer.status === 401) {
    leave();
    return;
  }
  setOffline(answer.status >= 500);
  const html = answer.ok ? await answer.text() : undefined;
  const [tag, readAt, asOf] = ["ETag", "Cutout-Read-At", "Cutout-As-Of"].map((name) => answer.headers.get(name) ?? "");
  if (answer.ok || (answer.status === 304 && tag === part.tag)) showPart(part, { tag, readAt, asOf, html });
}

// What was read earlier than what the page shows may come later. Without text it is what the stream brought before,
// and the page may have fetched another one since.
function showPart(part, { tag, readAt, asOf, html }) {
  if (readAt < part.readAt) return;
  if (tag !== part.tag) {
    if (html === undefined) return renew(part);
    alignChildren(part.element, new DOMParser().parseFromString(`<body>${html}</body>`, "text/html").body);
    part.tag = tag;
  }
  part.readAt = readAt;
  showAsOf(asOf);
}

// Changes `old` into `fresh` node by node: focus, selection and scroll position stay. Nodes with an id are
// found again wherever they stand.
function alignChildren(old, fresh) {
  const wanted = [...fresh.childNodes];
  const ids = new Set(wanted.map((node) => node.id).filter(Boolean));
  wanted.forEach((node, at) => {
    const known = node.id && [...old.children].find((child) => child.id === node.id);
    while (known && old.childNodes[at] !== known && !ids.has(old.childNodes[at].id)) old.childNodes[at].remove();
    const present = old.childNodes[at];
    if (known) {
      if (present !== known) old.insertBefore(known, present);
      align(known, node);
    } else if (!present || ids.has(present.id)) old.insertBefore(document.importNode(node, true), present ?? null);
    else if (node.id || present.nodeName !== node.nodeName) present.replaceWith(document.importNode(node, true));
    else align(present, node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function align(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // What somebody is typing stays.
  if (old.contains(document.activeElement) && document.activeElement.matches("input, textarea, select") && old.matches("form, input, textarea, select")) return;
  const picked = old.classList.contains("picked");
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (picked) old.classList.add("picked");
  alignChildren(old, fresh);
}

function showAsOf(text) {
  const time = one("[data-read-at] time");
  if (!time || !text) return;
  time.dateTime = text;
  time.textContent = text.slice(0, 19).replace("T", " ");
}

function setOffline(is) {
  one("#offline").hidden = !is;
}

const rest = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(ms, 0)));
const renewAll = () => Promise.all(parts.map(renew));

// --- One stream for the page, none while it is hidden

let stream = null;
let failures = 0;

async function listen() {
  if (stream || document.hidden || !parts.length) return;
  const own = (stream = new AbortController());
  let pause = POLL_MS;
  try {
    const query = new URLSearchParams([["page", location.pathname + location.search], ...parts.map(({ name }) => ["part", name])]);
    const answer = await fetch(`/console/events?${query}`, { signal: own.signal, cache: "no-store" });
    if (answer.status === 401) {
      leave();
      return;
    }
    if (answer.ok) {
      setLive(true);
      await readEvents(answer.body.getReader());
      pause = 0;
    } else {
      // No room for another stream: look at the page in turn.
      pause = 1000 * Number(answer.headers.get("Retry-After") ?? POLL_MS / 1000);
      await renewAll();
    }
    failures = 0;
  } catch {
    if (own.signal.aborted) return;
    setOffline(true);
    failures += 1;
    pause = Math.min(500 * 2 ** failures, LONGEST_WAIT_MS);
  } finally {
    if (stream === own) stream = null;
    setLive(false);
  }
  await rest(pause);
  listen();
}

async function readEvents(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (event.startsWith("event: ended")) leave();
      else if (event.startsWith("event: away")) setOffline(true);
      else showEvent(JSON.parse(event.slice(event.indexOf("{"))));
    }
  }
}

function showEvent(sent) {
  setOffline(false);
  showPart(parts.find(({ name }) => name === sent.name), sent);
}

// The session is over: the server sends this page to the sign-in. The stream and each fetch find it out.
function leave() {
  if (isLeaving) return;
  isLeaving = true;
  location.reload();
}

function setLive(is) {
  for (const mark of all(".as-of .live")) mark.hidden = !is;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.abort();
    stream = null;
    return;
  }
  // A stream begins with the parts as they are.
  listen();
});

// --- Theme

const themeButton = one("#theme");
const root = document.documentElement;
themeButton.hidden = false;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const nameTheme = () => (themeButton.textContent = isDark() ? "Light" : "Dark");
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${THEME_COOKIE}=${root.dataset.theme}; Path=/console; Max-Age=31536000; SameSite=Strict${secure}`;
  nameTheme();
});
nameTheme();

// --- Keys

const dialog = one("#keys");
const keysOn = one("#keys-on");
const PLACES = { n: "/console", b: "/console/batches", r: "/console/review", t: "/console/trouble", s: "/console/schedules", m: "/console/money", l: "/console/limit", y: "/console/system" };
let before = { key: "", at: 0 };

if (keysOn) {
  keysOn.checked = localStorage.getItem(KEYS_OFF) === null;
  keysOn.addEventListener("change", () => (keysOn.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "1")));
}

document.addEventListener("keydown", (event) => {
  if (!dialog || event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "?") {
    dialog.showModal();
    return;
  }
  if (!keysOn.checked) return;
  const follows = before.key === "g" && Date.now() - before.at < SEQUENCE_MS;
  before = { key: event.key, at: Date.now() };
  if (follows) go(PLACES[event.key]);
  else if (event.key === "j") pick(1);
  else if (event.key === "k") pick(-1);
  else useKey(event);
});

// Only to screens that this viewer has.
function go(address) {
  if (address && all(".bar nav a").some((link) => link.getAttribute("href") === address)) location.assign(address);
}

function pick(step) {
  const rows = all("table.list tbody tr");
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("picked"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows[at]?.classList.remove("picked");
  next.classList.add("picked");
  one("a", next)?.focus();
}

function useKey(event) {
  const found = all("[data-key]").findLast((each) => each.dataset.key === event.key);
  if (!found) return;
  event.preventDefault();
  if (found.matches("button")) found.click();
  else found.focus();
}

// --- Changes: what was done is told with Undo, what spends or is final is asked in a dialog

const asking = one("#asking");

function tellDone(text, undo) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (undo) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    button.dataset.key = "u";
    button.addEventListener("click", () => {
      toast.remove();
      send(undo, { method: "POST", body: new URLSearchParams({ back: location.pathname }) });
    });
    toast.append(button);
  }
  one("#toasts").append(toast);
  setTimeout(() => toast.remove(), UNDO_MS);
}

// The answer is JSON, {text, undo, href}, or a page: its question, or what is wrong, is shown in the dialog.
async function send(address, options) {
  try {
    const answer = await fetch(address, { ...options, headers: { Accept: "application/json" } });
    if (answer.redirected && new URL(answer.url).pathname === "/console/sign-in") location.assign(answer.url);
    else if (answer.headers.get("Content-Type")?.startsWith("application/json")) showDone(await answer.json());
    else showQuestion(new DOMParser().parseFromString(await answer.text(), "text/html"), answer.url);
  } catch {
    tellDone("No answer from the server: look whether it was done.");
  }
}

function showDone({ text, undo, href }) {
  asking.close();
  if (new URL(href, location.href).pathname !== location.pathname) {
    location.assign(href);
    return;
  }
  tellDone(text, undo);
  renewAll();
}

function showQuestion(page, address) {
  const found = one("main [data-ask], main .card", page);
  if (!found) {
    location.assign(address);
    return;
  }
  asking.replaceChildren(document.importNode(found, true));
  const heading = one("h1", asking);
  asking.setAttribute("aria-labelledby", (heading.id ||= "asking-title"));
  if (!one("[data-close]", asking)) {
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
    close.dataset.close = "";
    heading.parentElement.append(close);
  }
  if (!asking.open) asking.showModal();
  // Not the button: whoever holds a key down accepts nothing.
  (one("input:not([type=hidden]):required", asking) ?? heading).focus();
  renewAll();
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-done], form[data-dialog], #asking form");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  const body = new URLSearchParams(new FormData(form));
  await (form.method === "get" ? send(`${form.action}?${body}`, {}) : send(form.action, { method: "POST", body }));
  delete form.dataset.sent;
});

document.addEventListener("click", (event) => {
  if (event.target.closest("#asking [data-close]")) asking.close();
  const link = event.target.closest("a[data-dialog]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) send(link.href, {});
  else if (!event.target.closest("#asking a[data-close]")) return;
  event.preventDefault();
});

// --- Adding work: files are dropped anywhere on the page, and the bytes are counted as they go

const upload = one("form[data-upload]");

if (upload) {
  const files = one("#files");
  const fault = one("#fault");
  const sending = one("#sending");
  const send = one("#send");
  let request = null;

  const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
  const say = (text) => {
    fault.replaceChildren(...(text ? [Object.assign(document.createElement("p"), { className: "fault", textContent: text })] : []));
    if (text) fault.scrollIntoView({ block: "nearest" });
  };
  const bytes = () => [...files.files].reduce((sum, file) => sum + file.size, 0);
  const tell = () => {
    const { length } = files.files;
    one("#chosen").textContent = length ? `${length === 1 ? "1 file" : `${length} files`}, ${size(bytes())}: ${[...files.files].slice(0, 5).map((file) => file.name.slice(0, 80)).join(", ")}${length > 5 ? " …" : ""}` : "";
    const most = Number(length > 1 || /\.zip$/i.test(files.files[0]?.name) ? upload.dataset.most : upload.dataset.mostManifest);
    say(bytes() > most ? `These are ${size(bytes())}, and at most ${size(most)} are taken. Send parts, or pack several zips.` : "");
  };
  const show = (is) => {
    sending.hidden = !is;
    send.disabled = is;
    files.disabled = is;
  };
  const broken = () => {
    request = null;
    show(false);
    say("The connection broke off. Nothing was stored; send it again.");
  };

  files.addEventListener("change", tell);
  // Without this the browser would leave the page and show the file.
  for (const name of ["dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      one(".drop").classList.toggle("over", name === "dragover");
      if (name !== "drop" || request) return;
      if ([...event.dataTransfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)) say("A folder cannot be sent. Pack it into a zip, or choose its pictures.");
      else {
        files.files = event.dataTransfer.files;
        tell();
      }
    });
  upload.addEventListener("submit", (event) => {
    event.preventDefault();
    if (request) return;
    const form = new FormData(upload);
    request = new XMLHttpRequest();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      one("progress", sending).value = total ? loaded / total : 0;
      one("#sent").textContent = loaded < total ? `${size(loaded)} of ${size(total)}` : "All is sent; one moment.";
    });
    request.addEventListener("load", () => {
      const { status, responseURL, responseXML } = request;
      request = null;
      if (status < 400) {
        location.assign(responseURL);
        return;
      }
      show(false);
      if (!responseXML) return broken();
      const told = one("#fault .fault", responseXML) ?? one("main .card", responseXML);
      say(told ? [...told.childNodes].map((node) => node.textContent.trim()).filter((text) => text && text !== "Now").join(" ") : `The server refused it (${status}).`);
    });
    request.addEventListener("error", broken);
    request.addEventListener("abort", () => {
      request = null;
      show(false);
      say("Stopped. Nothing was stored.");
    });
    request.open("POST", upload.action);
    request.responseType = "document";
    request.send(form);
    say("");
    show(true);
  });
  one("#stop").addEventListener("click", () => request?.abort());
  addEventListener("beforeunload", (event) => {
    if (request) event.preventDefault();
  });
  // A page that comes back by “Back” has files again, and a token that may be used.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

// --- Begin

for (const form of all("form[data-submit]")) form.requestSubmit();
const retried = one("[data-retry]");
if (retried) setTimeout(() => location.reload(), 1000 * Number(retried.dataset.retry));
listen();
