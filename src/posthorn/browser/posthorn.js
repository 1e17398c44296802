/*
 * Posthorn's browser snippet: who the visitor is and what they do, sent to POST /v1/batch in Segment's format.
 *
 * Every event is a key of its own in localStorage until the server has answered for it, so tabs never overwrite each
 * other's and nothing is lost by leaving the page. The same event may be sent twice (by two tabs, or by a beacon whose
 * fate is unknown); its messageId tells the server. Requests are "simple" in the sense of CORS: text/plain, with the
 * write key in the body. They need no preflight, and beacons, which cannot have headers, look the same.
 *
 * ES2017, no dependencies. scripts/build_snippet.sh makes posthorn.min.js of it.
 */
(w => {
  const stub = w.posthorn = w.posthorn || [];
  if (stub.ready) return; // loaded twice

  const d = document;
  const nav = navigator;
  const ANONYMOUS = "posthorn.anonymousId";
  const USER = "posthorn.userId";
  const MOST_WAITING = 500;
  const MOST_AT_ONCE = 50;
  const MOST_CHARACTERS = 2e4; // at most 60 KB of UTF-8, since a beacon carries 64 KiB
  const GATHER_MS = 200;
  const ownHost = new URL((d.currentScript || location).src || location.href).origin;

  let url;
  let writeKey;
  let prefix;
  let silent; // the visitor does not want to be tracked, and the site was asked to respect it
  let timer;
  let sending;
  let failures = 0;
  let notBefore = 0;
  let atOnce = MOST_AT_ONCE;
  let made = 1e6;
  let disk;
  const memory = {}; // what localStorage does not take lives as long as the page

  try {
    disk = w.localStorage;
  } catch (e) {
    // Forbidden, as in a sandboxed frame or with cookies blocked.
  }
  disk = disk || {};

  const read = key => memory[key] || disk[key];
  const forget = key => {
    delete memory[key];
    delete disk[key];
  };
  const write = (key, value) => {
    forget(key);
    try {
      disk[key] = value;
    } catch (e) {
      memory[key] = value; // full
    }
  };
  const waiting = () =>
    Object.keys(disk)
      .concat(Object.keys(memory))
      .filter(key => key.startsWith(prefix))
      .sort();

  const newId = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => (byte + 256).toString(16).slice(1)).join("");

  const anonymousId = () => {
    if (!read(ANONYMOUS)) write(ANONYMOUS, newId());
    return read(ANONYMOUS);
  };

  const later = ms => {
    clearTimeout(timer);
    timer = setTimeout(flush, Math.max(ms, notBefore - Date.now()));
  };

  const add = (type, fields) => {
    const page = {
      path: location.pathname,
      referrer: d.referrer,
      search: location.search,
      title: d.title,
      url: location.href
    };
    if (type == "page") fields.properties = Object.assign({}, page, fields.properties);
    const event = Object.assign(
      {
        type,
        messageId: newId(),
        timestamp: new Date(),
        anonymousId: anonymousId(),
        userId: read(USER),
        context: {
          library: { name: "posthorn.js", version: "1" },
          page,
          userAgent: nav.userAgent,
          locale: nav.language,
          timezone: Intl.DateTimeFormat().resolvedOptions().timeZone
        }
      },
      fields
    );
    const text = JSON.stringify(event); // first: when it throws, nothing was dropped for it
    waiting()
      .slice(0, 1 - MOST_WAITING)
      .forEach(forget);
    write(prefix + Date.now() + made++ + event.messageId, text);
    if (!timer) later(GATHER_MS);
  };

  /** Cut one request from the front of what waits; no keys when there is nothing. */
  const cut = () => {
    const keys = [];
    const texts = [];
    let left = MOST_CHARACTERS;
    for (const key of waiting()) {
      const text = read(key);
      if (!text) continue; // another tab has sent it meanwhile
      left -= text.length;
      if (keys[0] && (left < 0 || keys.length >= atOnce)) break;
      keys.push(key);
      texts.push(text);
    }
    const body =
      '{"writeKey":' + JSON.stringify(writeKey) + ',"sentAt":"' + new Date().toISOString() + '","batch":[' + texts + "]}";
    return { keys, body };
  };

  const send = async () => {
    const { keys, body } = cut();
    if (!keys[0]) return;
    let answer;
    try {
      answer = await fetch(url, { method: "POST", body, credentials: "omit" });
    } catch (e) {
      answer = { status: 503, headers: new Headers() };
    }
    const status = answer.status;
    if (status > 499 || status == 429 || status == 408) {
      const ms = Math.min(1e3 * 2 ** failures++, 6e4) * (0.5 + Math.random() / 2);
      // The longest wait that a server may ask for is an hour; a date, the other form, counts as nothing.
      notBefore = Date.now() + Math.max(ms, Math.min(answer.headers.get("Retry-After") * 1e3 || 0, 36e5));
      return;
    }
    failures = 0;
    if (status > 299) {
      if (keys[1]) {
        atOnce = 1; // something in it is wrong: find out which, and keep the others
        return;
      }
      console.error("posthorn: refused with " + status);
    }
    keys.forEach(forget);
  };

  const flush = async () => {
    timer = 0;
    if (sending || nav.onLine === false) return;
    sending = 1;
    try {
      // One tab at a time, where the browser can arrange it (in secure contexts).
      await (nav.locks ? nav.locks.request(prefix, send) : send());
    } catch (e) {
      await send(); // it cannot here
    }
    sending = 0;
    if (waiting()[0]) later(0);
    else atOnce = MOST_AT_ONCE;
  };

  /** Let the first of two arguments be left out. */
  const named = (name, values) => (Object(name) === name ? [undefined, name] : [name && "" + name, values]);

  const api = {
    init(key, options) {
      if (writeKey) return;
      options = options || {};
      silent = options.respectDoNotTrack && (nav.doNotTrack == "1" || nav.globalPrivacyControl);
      if (silent) return;
      writeKey = key;
      prefix = "posthorn.e." + key + ".";
      url = (options.host || ownHost) + "/v1/batch";
      later(0); // what an earlier page left
      stub.splice(0).forEach(run);
    },
    track(event, properties) {
      add("track", { event, properties: properties || {} });
    },
    page(name, properties) {
      [name, properties] = named(name, properties);
      add("page", { name, properties });
    },
    identify(userId, traits) {
      [userId, traits] = named(userId, traits);
      if (userId) write(USER, userId);
      add("identify", { traits: traits || {} });
    },
    group(groupId, traits) {
      add("group", { groupId: "" + groupId, traits: traits || {} });
    },
    alias(userId, previousId) {
      userId = "" + userId;
      add("alias", { userId, previousId: "" + (previousId || read(USER) || anonymousId()) });
      write(USER, userId);
    },
    reset() {
      forget(USER);
      forget(ANONYMOUS);
    }
  };

  /** Make a call, or keep it until `init`. A mistake in a call never breaks the page. */
  const run = call => {
    if (silent) return;
    try {
      if (writeKey || call[0] == "init") api[call[0]](call[1], call[2]);
      else stub.push(call);
    } catch (e) {
      console.error("posthorn:", e);
    }
  };

  w.addEventListener("online", () => {
    notBefore = 0;
    if (writeKey) later(0);
  });
  w.addEventListener("pagehide", () => {
    if (!writeKey || nav.onLine === false || Date.now() < notBefore) return;
    const { keys, body } = cut();
    // Nobody will hear what became of it, so the events stay until a later page has an answer for them.
    if (keys[0]) nav.sendBeacon(url, body);
  });

  stub.ready = 1;
  Object.keys(api).forEach(name => (stub[name] = (first, second) => run([name, first, second])));
  stub.splice(0).forEach(run);
})(window);
