// <keyfold-portal src="https://keyfold.example.com" integration="int_…"></keyfold-portal>
//
// The partner portal in a page of your own. Your page's origin must be among the integration's `origins`. Hand over a
// link, onboarding or back into the portal, by the property `link` (never an attribute, so it stays out of the page's
// markup), or when the element asks for one:
//
//   element.addEventListener("linkneeded", async () => { element.link = await freshLinkFromYourBackend(); });
//
// Other events: "opened" (a visit is open), "firstevent" (their first event has arrived), "closed" (the visit is over).
// Where the portal doesn't answer for some seconds, a sentence stands in its place, and the event "keyfold-error" has in
// its `detail` a `code`, "unanswered", and a `message` for whoever builds the page.
(() => {
  const EVENTS = ["linkneeded", "opened", "firstevent", "closed"];
  const TALLEST = 20000;
  // milliseconds: until the page is loaded, a browser's refusal to show it included; and from then on until it says so
  const LOADING = 20000;
  const ANSWERING = 4000;

  class KeyfoldPortal extends HTMLElement {
    static observedAttributes = ["src", "integration"];
    #frame = null;
    #origin = "";
    #token = "";
    #isReady = false;
    #waiting = 0;
    #sorry = null;
    #hear = (event) => this.#heard(event);

    /** The address of a link as it was given, or the token at its end. */
    set link(address) {
      this.#token = String(address ?? "").split("#").pop();
      if (this.#isReady) this.#tell("link");
    }

    connectedCallback() {
      addEventListener("message", this.#hear);
      this.#build();
    }

    disconnectedCallback() {
      removeEventListener("message", this.#hear);
      clearTimeout(this.#waiting);
      this.#frame?.remove();
      this.#frame = null;
      this.#sorry?.remove();
    }

    attributeChangedCallback() {
      if (this.isConnected) this.#build();
    }

    #build() {
      const [src, integration] = [this.getAttribute("src"), this.getAttribute("integration")];
      this.#frame?.remove();
      this.#sorry?.remove();
      clearTimeout(this.#waiting);
      this.#isReady = false;
      if (!src || !integration) return;
      const address = new URL(`/portal/embed/${encodeURIComponent(integration)}`, src);
      if (!/^https?:$/.test(address.protocol)) return;
      const frame = document.createElement("iframe");
      this.#origin = address.origin;
      frame.title = this.getAttribute("label") ?? "Partner portal";
      frame.allow = "clipboard-write";
      frame.referrerPolicy = "no-referrer";
      Object.assign(frame.style, { display: "block", width: "100%", height: "40rem", border: "0" });
      Object.assign(this.style, { display: "block" });
      frame.addEventListener("load", () => {
        this.#tell("hello");
        this.#await(ANSWERING);
      });
      frame.src = address.href;
      this.#frame = frame;
      this.append(frame);
      this.#await(LOADING);
    }

    /** A browser tells a page nothing of a frame that it refuses to show: it is known by its silence alone. */
    #await(milliseconds) {
      clearTimeout(this.#waiting);
      if (!this.#isReady) this.#waiting = setTimeout(() => this.#unanswered(), milliseconds);
    }

    #unanswered() {
      this.#sorry?.remove();
      this.#sorry = document.createElement("p");
      this.#sorry.setAttribute("role", "alert");
      this.#sorry.textContent = "The partner portal can't be shown here. Reload the page; if that doesn't help, tell those whose page it is.";
      this.#frame.style.display = "none";
      this.append(this.#sorry);
      const message = `${this.#origin} didn't answer. Either it can't be reached, or the integration's origins don't name ${location.origin}.`;
      this.dispatchEvent(new CustomEvent("keyfold-error", { detail: { code: "unanswered", message } }));
    }

    /** It answers, and be it late. */
    #ready() {
      this.#isReady = true;
      clearTimeout(this.#waiting);
      this.#sorry?.remove();
      this.#frame.style.display = "block";
    }

    #tell(what) {
      this.#frame?.contentWindow?.postMessage({ keyfold: what, token: this.#token }, this.#origin);
    }

    #heard(event) {
      if (!this.#frame || event.source !== this.#frame.contentWindow || event.origin !== this.#origin) return;
      const said = event.data;
      if (typeof said !== "object" || said === null) return;
      if (said.keyfold === "ready") this.#ready();
      if (said.keyfold === "redeemed") this.#token = ""; // it works once: from now on the visit counts
      if (said.keyfold === "height" && Number.isFinite(said.height)) {
        this.#frame.style.height = `${Math.min(Math.max(said.height, 200), TALLEST)}px`;
      }
      if (EVENTS.includes(said.keyfold)) this.dispatchEvent(new CustomEvent(said.keyfold, { detail: { partnerId: said.partnerId } }));
    }
  }

  if (!customElements.get("keyfold-portal")) customElements.define("keyfold-portal", KeyfoldPortal);
})();
