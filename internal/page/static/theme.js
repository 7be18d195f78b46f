// Loaded before the page is drawn, so that it never flashes in the wrong theme.
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  try {
    const theme = localStorage.getItem('theme');
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  } catch { /* storage is switched off: the system's theme it is */ }
})();
