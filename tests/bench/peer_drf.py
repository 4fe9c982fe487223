"""Django REST framework API key, under a Python that has it, outside the repository.

`peer_drf.py prepare KEYS` makes its tables and prints that many keys as a JSON array; `peer_drf.py serve PORT` becomes
gunicorn with one worker and answers GET with `Authorization: Api-Key …` by a view that `HasAPIKey` protects. The
database is named by PGHOST, PGPORT, PGUSER and PGDATABASE.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_THREADS = 2
"""1, 2, 4, 8 and 32 were tried: more than two only take the interpreter from each other."""

urlpatterns: list[Any] = []


def application() -> Any:
    """The WSGI application, with nothing that a site has besides: no middleware, no sessions, JSON alone."""
    import_module("django.conf").settings.configure(
        DEBUG=False,
        SECRET_KEY="as long as it should be, and of no use to anybody",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
        MIDDLEWARE=[],
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ["PGDATABASE"],
                "CONN_MAX_AGE": None,
            }
        },
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
    )
    this = import_module("django.core.wsgi").get_wsgi_application()
    decorators: Any = import_module("rest_framework.decorators")
    respond: Any = import_module("rest_framework.response").Response
    protect = decorators.permission_classes([import_module("rest_framework_api_key.permissions").HasAPIKey])
    length = {"Content-Length": "14"}  # no middleware adds it, and gunicorn would send chunks
    view = decorators.api_view(["GET"])(protect(lambda request: respond({"valid": True}, headers=length)))
    urlpatterns.append(import_module("django.urls").path("", view))
    return this


def prepare(keys: int) -> None:
    application()
    import_module("django.core.management").call_command("migrate", verbosity=0)
    manager: Any = import_module("rest_framework_api_key.models").APIKey.objects
    print(json.dumps([manager.create_key(name=f"key {number}")[1] for number in range(keys)]))


def serve(port: int) -> None:
    options = {"bind": f"127.0.0.1:{port}", "workers": 1, "worker-class": "gthread", "threads": _THREADS}
    options |= {"keep-alive": 900, "http-parser": "fast", "log-level": "warning", "chdir": Path(__file__).parent}
    flags = [f"--{name}={value}" for name, value in options.items()]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *flags, f"{Path(__file__).stem}:application()"])


if __name__ == "__main__":
    {"prepare": prepare, "serve": serve}[sys.argv[1]](int(sys.argv[2]))
