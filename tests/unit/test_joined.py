"""The portal's modules as one file: what each would do by itself, and in the right order."""

import pytest

from keyfold.web.pages.joined import joined


def of(**modules: str) -> str:
    return joined("main", modules.__getitem__)


def test_each_module_is_a_function_that_is_called_once_before_those_who_need_it() -> None:
    text = of(
        main='import { b } from "./b.js";\nimport { a as first } from "./a.js";\n\nconst hidden = first + b;\n',
        b='import { a } from "./a.js";\nexport const b = a;\nexport async function $c() {}\n',
        a="export const a = 1;\nexport class D {}\nconst hidden = 2;\n",
    )
    assert text == (
        "const module_a = (() => {\nconst a = 1;\nclass D {}\nconst hidden = 2;\nreturn { a, D };\n})();\n\n"
        "const module_b = (() => {\nconst { a } = module_a;\nconst b = a;\nasync function $c() {}\n"
        "return { b, $c };\n})();\n\n"
        "const module_main = (() => {\nconst { b } = module_b;\nconst { a: first } = module_a;\n\n"
        "const hidden = first + b;\nreturn {  };\n})();\n"
    )


def test_what_only_looks_like_an_import_stays() -> None:
    sample = 'const sample = `\nimport { connect } from "@nats-io/transport-node";\nimport asyncio, nats\n`;\n'
    assert sample in of(main=sample)


@pytest.mark.parametrize(
    "module",
    [
        "export default 1;",
        "export { a };",
        "export let a = 1;",
        'import * as a from "./a.js";',
        'import a from "./a.js";',
        'import "./a.js";',
        'import { a } from "./a.js"; // why',
        'const { a } = await import("./a.js");',
    ],
)
def test_what_it_doesnt_understand_is_refused(module: str) -> None:
    with pytest.raises(ValueError, match="main: "):
        of(main=f"{module}\n", a="export const a = 1;\n")


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="main > a > main"):
        of(main='import { a } from "./a.js";\n', a='import { b } from "./main.js";\n')
