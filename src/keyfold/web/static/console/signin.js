// A sign-in link's token is in the fragment: taken out of the address bar at once, and sent by one explicit click.
// No module, as console.js.
(() => {
  "use strict";

  const form = document.querySelector("#by-link");

  function take() {
    if (!location.hash.startsWith("#kfi_")) return;
    form.elements.token.value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname + location.search);
    form.hidden = false;
    document.querySelector("#by-key").hidden = true;
    form.querySelector("button").focus();
  }

  take();
  // pasting another link into this tab changes only the fragment
  addEventListener("hashchange", take);
})();
