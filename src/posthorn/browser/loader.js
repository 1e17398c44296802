/*
 * What a site puts into its pages: calls are kept in an array until the snippet is there, so nothing waits for it.
 * The three names in capitals are filled in as JSON (posthorn.browser.loading_tag).
 */
((w, d) => {
  const p = (w.posthorn = w.posthorn || []);
  if (!p.init) {
    "init track page identify group alias reset".split(" ").forEach(n => (p[n] = (a, b) => p.push([n, a, b])));
    const s = d.createElement("script");
    s.async = 1;
    s.src = POSTHORN_URL;
    d.head.appendChild(s);
  }
  p.init(POSTHORN_KEY, POSTHORN_OPTIONS);
  p.page();
})(window, document);
