// Keeps the page fresh without a reload. Everything is there without it.
(() => {
  'use strict';
  const box = document.getElementById('refresh');
  const switched = box.querySelector('input');
  const said = document.getElementById('said');
  box.hidden = false;
  const refresh = async () => {
    // What somebody is about to copy stays as it is.
    if (!switched.checked || document.hidden || !getSelection().isCollapsed) return;
    try {
      const answer = await fetch(location.href, { cache: 'no-store' });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      document.getElementById('live').replaceWith(fresh.getElementById('live'));
      document.getElementById('facts').replaceWith(fresh.getElementById('facts'));
      document.title = fresh.title;
      document.body.classList.remove('stale');
      said.textContent = '';
    } catch {
      document.body.classList.add('stale');
      said.textContent = 'kinetail does not answer: this is what it said last';
    }
  };
  setInterval(refresh, 5000);
})();
