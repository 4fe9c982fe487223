"""What the console says of the log's tree: its head, who has signed it, and how to check that."""

TEXTS: dict[str, str] = {
    "proof.title": "Proof",
    "proof.what": "Every record is a leaf of a tree, whose root is signed every few seconds. Nobody who has seen a "
    "root can be "
    "shown another past later on: not by whoever runs this, who has the database and the key.",
    "proof.none": "Nothing is signed yet",
    "proof.none.todo": "A worker with a signing key does that every few seconds.",
    "proof.head": "The tree's head",
    "proof.origin": "Log",
    "proof.size": "Records",
    "proof.root": "Root",
    "proof.age": "Signed",
    "proof.last": "Last record",
    "proof.waits": "Waiting to be signed: {count}.",
    "proof.signers": "Who has signed it",
    "proof.signer": "Name",
    "proof.signer.is": "As",
    "proof.signer.at": "When",
    "proof.signer.log": "the log",
    "proof.signer.witness": "a witness",
    "proof.signer.checked": "signature checked by the server",
    "proof.signer.unchecked": "check it with the witness's own key",
    "proof.signer.wrong": "the signature is wrong",
    "proof.witnesses.keys": "The keys of its witnesses",
    "proof.witnesses.own": "Keys of witnesses, as you have them from themselves",
    "proof.witnesses.own.hint": "One in a line. They are used before those that this server names, and kept nowhere.",
    "proof.witnesses.none": "No witness has signed it. Somebody outside should: see Operations, Witnesses.",
    "proof.keys": "The log's keys",
    "proof.keys.what": "Compare them, letter by letter, with what the operator publishes elsewhere.",
    "proof.note": "The checkpoint, as it is signed",
    "proof.here": "In this browser",
    "proof.here.what": "Checks the signature, those of witnesses, and that the tree has only grown from what this "
    "browser saw last. The code that checks came from the same server, so it finds accidents and proves nothing "
    "against it: for that, check on your own machine.",
    "proof.here.check": "Check now",
    "proof.here.signature": "The signature is that of the log's key.",
    "proof.here.first": "This is the first look from this browser. The head is remembered.",
    "proof.here.same": "It is the head that was seen last, of size {size}.",
    "proof.here.grown": "From size {from} to {to}: nothing before has changed.",
    "proof.here.bad": "This does not go on from what this browser saw before, of size {from}. Keep this page, and "
    "tell an "
    "auditor.",
    "proof.here.forged": "The signature is wrong.",
    "proof.here.unsigned": "This browser can't check signatures of this kind (Ed25519).",
    "proof.here.insecure": "A browser computes this over https or on this machine alone.",
    "proof.here.cosigned": "{name} has seen it at {at}: its signature is right.",
    "proof.here.miscosigned": "What bears the name of {name} was not signed by its key.",
    "proof.here.unknown": "{name} is unknown: there is no key here to check its signature with.",
    "proof.here.uncosigned": "{name} hasn't signed this head.",
    "proof.here.unreadable": "This is no key of a witness: {key}",
    "proof.here.leaf": "The record hashes to its leaf, and the leaf leads to the root that was signed.",
    "proof.here.altered": "This record is not the one that was signed.",
    "proof.own": "On your own machine",
    "proof.own.what": "With our client, or any other of such logs. It remembers what it saw, and demands that the "
    "log goes on "
    "from there.",
    "proof.more": "What is promised, and what isn't",
}
