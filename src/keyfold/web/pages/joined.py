"""ES modules as one file: a browser that has none of them yet takes some milliseconds for each.

Nothing is built. Each module becomes a function that is called once and gives its exports, in the order in which they
need one another; what a browser would do with them it still does. Taken is what ours are written in: `import` of names
from a module beside, and `export` before a const, a function or a class.
"""

import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:const|(?:async )?function|class) ([\w$]+))", re.MULTILINE)
_ELSE = re.compile(r'^(?:export\b|import\b[^;]*"\.).*|\bimport\("\./.*', re.MULTILINE)


def joined(entry: str, source: Callable[[str], str]) -> str:
    """The module `entry` with all that it imports. `source` gives a module's text by its name.

    Raises ValueError where modules import one another in a circle, or say it in other words.
    """
    done: dict[str, str] = {}

    def take(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise ValueError(f"a circle: {' > '.join((*way, name))}")
        if name in done:
            return
        text = source(name)
        for _, other in _IMPORT.findall(text):
            take(other, (*way, name))
        done[name] = _called(name, text)

    take(entry, ())
    return "\n".join(done.values())


def _called(name: str, text: str) -> str:
    exports = ", ".join(each for _, each in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(_taken, text))
    if said := _ELSE.search(body):
        raise ValueError(f"{name}: {said[0]}")
    return f"const module_{name} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"


def _taken(found: re.Match[str]) -> str:
    return f"const {{{found[1].replace(' as ', ': ')}}} = module_{found[2]};\n"
