"""What the portal's one server-rendered page says. Its scripts: static/portal/texts.js."""

TEXTS: dict[str, str] = {
    "portal.title": "Partner portal",
    "portal.skip": "Skip to the content",
    "portal.offline": "No connection. What you see may be old; this goes on by itself once the server answers.",
    "portal.theme": "Appearance",
    "portal.noscript.title": "This page needs JavaScript",
    "portal.noscript.what": "The secret part of your link stays in the browser, so only the browser can use it. "
    "Without JavaScript, redeem the link from a shell or a backend: it is one POST, described in",
    "portal.noscript.guide": "the partner guide",
}
