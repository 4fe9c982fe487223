// Checks what the server says of its log: that a record leads to the signed root, that the head is signed, and that the
// log has only grown from the head that this browser saw last. RFC 6962, RFC 9162, c2sp.org/signed-note,
// c2sp.org/tlog-cosignature.

const $ = (selector) => document.querySelector(selector);
const bytes = (base64) => Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
const base64 = (given) => btoa(String.fromCharCode(...given));
const joined = (...parts) => Uint8Array.from(parts.flatMap((each) => [...each]));
const hash = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
const leaf = (record) => hash([0], record);
const node = (left, right) => hash([1], left, right);
const same = (one, other) => base64(one) === base64(other);

/** The root that a leaf's path leads to (RFC 9162, 2.1.3.2); null where it can't be one. */
export async function rootOf(index, size, of, path) {
  let [fn, sn, at] = [index, size - 1, of];
  for (const each of path) {
    if (sn === 0) return null;
    if (fn % 2 === 1 || fn === sn) {
      at = await node(each, at);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      at = await node(at, each);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 ? at : null;
}

/** Whether the tree of the first size is the beginning of the second (RFC 9162, 2.1.4.2). */
export async function hasGrown(first, firstRoot, second, secondRoot, path) {
  if (first === second) return path.length === 0 && same(firstRoot, secondRoot);
  const isPower = Number.isInteger(Math.log2(first));
  const rest = isPower ? [firstRoot, ...path] : [...path];
  if (!rest.length) return false;
  let [fn, sn] = [first - 1, second - 1];
  while (fn % 2 === 1) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  let [fr, sr] = [rest[0], rest[0]];
  for (const each of rest.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [await node(each, fr), await node(each, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      sr = await node(sr, each);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && same(fr, firstRoot) && same(sr, secondRoot);
}

function parsed(note) {
  const [text, signatures] = [note.slice(0, note.indexOf("\n\n") + 1), note.slice(note.indexOf("\n\n") + 2)];
  const [origin, size, root] = text.split("\n");
  const lines = signatures.split("\n").filter(Boolean).map((line) => line.slice(2).split(" "));
  return { text, origin, size: Number(size), root: bytes(root), signatures: lines.map(([name, blob]) => ({ name, blob: bytes(blob) })) };
}

/** true, false, or null where this browser can't tell. */
async function isSigned(note, keys) {
  for (const vkey of keys) {
    const [name, id, ...rest] = vkey.split("+");
    const material = bytes(rest.join("+"));
    const made = note.signatures.find(
      (each) => each.name === name && [...each.blob.slice(0, 4)].map((one) => one.toString(16).padStart(2, "0")).join("") === id,
    );
    if (!made || material[0] !== 1) continue;
    try {
      const key = await crypto.subtle.importKey("raw", material.slice(1), { name: "Ed25519" }, false, ["verify"]);
      return await crypto.subtle.verify({ name: "Ed25519" }, key, made.blob.slice(4), new TextEncoder().encode(note.text));
    } catch {
      return null;
    }
  }
  return false;
}

// ---- witnesses

const COSIGNATURE = 4;
const utf8 = (text) => new TextEncoder().encode(text);

/** A witness's verifier key, `<name>+<id>+<base64>`; null for what is none. */
async function witnessOf(vkey) {
  const [name, id, ...rest] = vkey.split("+");
  try {
    const material = bytes(rest.join("+"));
    if (!name || material.length !== 33 || material[0] !== COSIGNATURE) return null;
    const known = (await hash(utf8(`${name}\n`), material)).slice(0, 4);
    if ([...known].map((one) => one.toString(16).padStart(2, "0")).join("") !== id) return null;
    return { name, id: known, key: material.slice(1) };
  } catch {
    return null;
  }
}

/** When the witness says that it saw the note, with whether its key has signed that (null: this browser can't tell). */
async function cosigned(text, witness, blob) {
  if (blob.length !== 4 + 8 + 64) return { isGood: false, at: null };
  const time = new DataView(blob.buffer, blob.byteOffset).getBigUint64(4);
  const message = utf8(`cosignature/v1\ntime ${time}\n${text}`);
  let isGood = null;
  try {
    const key = await crypto.subtle.importKey("raw", witness.key, { name: "Ed25519" }, false, ["verify"]);
    isGood = time < 2n ** 63n && (await crypto.subtle.verify({ name: "Ed25519" }, key, blob.slice(12), message));
  } catch {
    // no Ed25519 here
  }
  const at = new Date(Number(time) * 1000);
  return { isGood, at: Number.isNaN(at.valueOf()) ? null : at.toISOString().replace("T", " ").replace(".000Z", " UTC") };
}

/** What there is to say of each witness, of those that have signed a note and of those whose keys are given:
    `cosigned`, `miscosigned`, `unknown`, `uncosigned`, `unsigned` where this browser can't tell, `unreadable`. */
export async function judged(text, vkeys, logKeys) {
  const note = parsed(text);
  const ours = new Set(logKeys.map((each) => each.split("+").slice(0, 2).join("+")));
  const named = (each) => `${each.name}+${[...each.blob.slice(0, 4)].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
  const open = note.signatures.filter((each) => !ours.has(named(each)));
  const found = [];
  const seen = new Set();
  for (const vkey of vkeys) {
    const witness = await witnessOf(vkey);
    if (!witness) {
      found.push({ verdict: "unreadable", name: vkey });
      continue;
    }
    const id = vkey.split("+").slice(0, 2).join("+");
    if (seen.has(id)) continue;
    seen.add(id);
    const theirs = open.filter((each) => named(each) === id);
    if (!theirs.length) found.push({ verdict: "uncosigned", name: witness.name });
    for (const each of theirs) {
      const { isGood, at } = await cosigned(note.text, witness, each.blob);
      found.push({ verdict: isGood === null ? "unsigned" : isGood ? "cosigned" : "miscosigned", name: witness.name, at });
    }
  }
  for (const each of open) if (!seen.has(named(each))) found.push({ verdict: "unknown", name: each.name });
  return found;
}

async function checkWitnesses(place, text, logKeys) {
  const own = $("#own-witnesses").value.split("\n").map((each) => each.trim()).filter(Boolean);
  const theirs = [...document.querySelectorAll("#witness-keys code")].map((each) => each.textContent);
  for (const { verdict, name, at } of await judged(text, [...own, ...theirs], logKeys)) {
    const line = document.createElement("li");
    line.dataset.verdict = verdict;
    line.className = { cosigned: "state active", miscosigned: "state revoked" }[verdict] ?? "";
    line.textContent = place.dataset[verdict].replace("{name}", () => name).replace("{key}", () => name).replace("{at}", () => at);
    $("#witness-verdict").append(line);
  }
}

function remembered(origin) {
  try {
    const found = JSON.parse(localStorage.getItem(`keyfold-head-${origin}`) ?? "null");
    return Number.isSafeInteger(found?.size) && found.size > 0 && typeof found.root === "string" ? found : null;
  } catch {
    return null;
  }
}

async function checkHead(place) {
  const words = place.dataset;
  const verdict = $("#head-verdict");
  verdict.replaceChildren();
  $("#witness-verdict").replaceChildren();
  const say = (isGood, text) => {
    const line = document.createElement("li");
    line.className = isGood === null ? "" : `state ${isGood ? "active" : "revoked"}`;
    line.textContent = text;
    verdict.append(line);
  };
  const head = await (await fetch("/log/checkpoint", { cache: "no-store" })).text();
  const note = parsed(head);
  const keys = [...document.querySelectorAll("#log-keys code")].map((each) => each.textContent);
  const signed = await isSigned(note, keys);
  say(signed, signed === null ? words.unsigned : signed ? words.good : words.forged);
  if (signed === false) return;
  await checkWitnesses(place, head, keys);
  const seen = remembered(note.origin);
  const told = (text) => text.replace("{from}", seen?.size).replace("{to}", note.size).replace("{size}", note.size);
  let isGood = true;
  if (seen && seen.size > note.size) isGood = false;
  else if (seen) {
    const given = seen.size === note.size ? [] : await (await fetch(`/console/proof/consistency?from=${seen.size}&to=${note.size}`)).json();
    isGood = Array.isArray(given) && (await hasGrown(seen.size, bytes(seen.root), note.size, note.root, given.map(bytes)));
  }
  say(isGood, told(!seen ? words.first : !isGood ? words.bad : seen.size === note.size ? words.same : words.grown));
  if (isGood) localStorage.setItem(`keyfold-head-${note.origin}`, JSON.stringify({ size: note.size, root: base64(note.root) }));
}

async function checkRecord(place) {
  const { size, root, index, path, good, bad } = place.dataset;
  const record = new TextEncoder().encode($("#record").textContent);
  const found = await rootOf(Number(index), Number(size), await leaf(record), path.split(" ").filter(Boolean).map(bytes));
  const isGood = found !== null && base64(found) === root;
  $("#record-verdict").className = `state ${isGood ? "active" : "revoked"}`;
  $("#record-verdict").textContent = isGood ? good : bad;
}

function offer(button, place, verdict, check) {
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (!globalThis.crypto?.subtle) {
      verdict.textContent = place.dataset.insecure;
      return;
    }
    button.disabled = true;
    try {
      await check(place);
    } finally {
      button.disabled = false;
    }
  });
}
offer($("#check-head"), $("#head-check"), $("#head-verdict"), checkHead);
offer($("#check-record"), $("#record-proof"), $("#record-verdict"), checkRecord);
