// What of a page moves: themes, reloading, copying. Everything else is links and forms.
'use strict';
(() => {
  const root = document.documentElement;
  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* it is for this page only */ } },
  };

  // Themes
  const theme = document.querySelector('[data-theme-choice]');
  theme.value = root.dataset.theme || '';
  theme.addEventListener('change', () => {
    store.set('theme', theme.value);
    paint(theme.value);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (!root.dataset.theme) drawCharts(); });

  // Paper is white, and charts are drawn for it.
  function paint(name) {
    if (name) root.dataset.theme = name; else delete root.dataset.theme;
    drawCharts();
  }
  addEventListener('beforeprint', () => paint('light'));
  addEventListener('afterprint', () => paint(theme.value));

  // Reloading: only what is in main is exchanged, so nobody is thrown off the place where
  // they read, and what is open stays open.
  const refresh = document.querySelector('[data-refresh]');
  const empty = 5; // seconds until a page that waits for the first job looks again
  let timer = 0;
  let shown = null;
  function every() {
    return document.querySelector('[data-welcome]') ? empty : Number(refresh.value);
  }
  function plan() {
    clearTimeout(timer);
    if (every()) timer = setTimeout(reload, every() * 1000);
  }
  async function reload() {
    try {
      if (document.visibilityState === 'visible' && !main().contains(document.activeElement?.closest('input, select, form'))) {
        const answer = await fetch(location.href, { cache: 'no-cache' });
        const tag = answer.headers.get('ETag');
        if (answer.ok && tag !== shown) {
          exchange(new DOMParser().parseFromString(await answer.text(), 'text/html'));
          shown = tag;
        }
      }
    } catch { /* it is away for a moment: the next time */ }
    plan();
  }
  const main = () => document.querySelector('main');
  function exchange(page) {
    const open = [...document.querySelectorAll('main details')].map((d) => d.open);
    const focused = path(document.activeElement);
    const scrolled = [...document.querySelectorAll('main .scroll')].map((s) => [s.scrollLeft, s.scrollTop]);
    const [left, top] = [scrollX, scrollY];
    document.querySelector('nav').replaceWith(page.querySelector('nav'));
    main().replaceWith(page.querySelector('main'));
    document.querySelectorAll('main details').forEach((d, i) => { d.open = open[i] ?? d.open; });
    ready();
    document.querySelectorAll('main .scroll').forEach((s, i) => { if (scrolled[i]) s.scrollTo(...scrolled[i]); });
    if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
    scrollTo({ left, top, behavior: 'instant' });
  }
  // path is a selector of an element by its places, to find its successor.
  function path(element) {
    if (!element || element === document.body || !element.closest('main, nav')) return '';
    const steps = [];
    for (let e = element; e !== document.body; e = e.parentElement) {
      steps.unshift(`${e.localName}:nth-child(${[...e.parentElement.children].indexOf(e) + 1})`);
    }
    return `body > ${steps.join(' > ')}`;
  }
  refresh.value = store.get('refresh') || '0';
  if (!refresh.value) refresh.value = '0';
  refresh.addEventListener('change', () => { store.set('refresh', refresh.value); plan(); });

  // Copying
  function copyable(button) {
    button.hidden = false;
    button.addEventListener('click', async () => {
      const text = button.parentElement.querySelector('pre').textContent;
      try {
        await navigator.clipboard.writeText(text);
        say(button, 'Copied');
      } catch { // not allowed without TLS: it is selected, to be copied by hand
        getSelection().selectAllChildren(button.parentElement.querySelector('pre'));
        say(button, 'Selected: press Ctrl+C');
      }
    });
  }
  function say(button, text) {
    button.textContent = text;
    document.querySelector('[data-status]').textContent = text;
    setTimeout(() => { button.textContent = 'Copy'; }, 3000);
  }

  // Menus close with Escape, and with a click elsewhere.
  const menus = () => document.querySelectorAll('.period details[open], .pick[open]');
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const menu of menus()) { menu.open = false; menu.querySelector('summary').focus(); }
  });
  document.addEventListener('click', (event) => {
    for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
  });

  function ready() {
    for (const button of document.querySelectorAll('[data-copy]')) copyable(button);
    drawCharts();
  }
  document.querySelector('[data-settings]').hidden = false;
  ready();
  plan();
})();
